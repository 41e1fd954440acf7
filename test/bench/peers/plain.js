/** Worker threads in plain JavaScript, without any pool: a message for each query. Run: plain.js SQL COUNT THREADS */
import { Worker } from "node:worker_threads";
import { buildQueries, workers } from "./task.js";

const queries = buildQueries();
for (let thread = 0; thread < workers; thread++) {
  const worker = new Worker(new URL("./plain-worker.js", import.meta.url));
  // The worker asks with a message for each query, the first time when it is connected.
  worker.on("message", () => worker.postMessage(queries.shift()));
}
