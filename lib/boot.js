import module from "node:module";
import { parentPort, workerData } from "node:worker_threads";

// Starts worker/main.ts on any runtime. A worker thread does not get the loader of the process that started it, and where the
// runtime does not read TypeScript by itself, tsx does. mysql2 is loaded before: plain JavaScript need not go through tsx.
module.enableCompileCache?.(); // Node 22.8 and later: a third less time until the first query
if (!process.features.typescript && !process.versions.bun && !process.versions.deno) {
  await import("mysql2");
  (await import("tsx/esm/api")).register();
}
const { main } = await import("./worker/main.ts");
await main(parentPort, workerData);
