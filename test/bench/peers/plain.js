/** Worker threads in plain JavaScript, without a pool. Each query is a message. Run: plain.js SQL COUNT THREADS */
import { Worker } from "node:worker_threads";
import { buildQueries, workers } from "./task.js";

const queries = buildQueries();
for (let thread = 0; thread < workers; thread++) {
  const worker = new Worker(new URL("./plain-worker.js", import.meta.url));
  // The worker sends a message when it wants a query, the first time after connecting.
  worker.on("message", () => worker.postMessage(queries.shift()));
}
