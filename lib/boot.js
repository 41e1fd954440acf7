import module from "node:module";
import { workerData } from "node:worker_threads";

// Starts worker/main.ts on any runtime. A worker thread does not inherit the TypeScript loader of its process. A runtime that
// does not read TypeScript gets a bundle of JavaScript, or registers tsx.
const { bundle } = workerData;
const { main, importScript } = await (bundle
  ? (await import(bundle.loader)).load(bundle.path, fromSource)
  : fromSource());
await main(workerData.port, workerData, importScript); // not parentPort: the script may use that

async function fromSource() {
  // Node 22.8 and later: a third less time until the first query. The folder is given because anybody may have created Node's
  // default one.
  if (workerData.compileCache !== undefined) module.enableCompileCache?.(workerData.compileCache);
  if (!process.features.typescript && !process.versions.bun && !process.versions.deno) {
    await import("mysql2"); // before tsx: plain JavaScript need not go through it
    (await import("tsx/esm/api")).register();
  }
  const { main } = await import("./worker/main.ts");
  return { main, importScript: (url) => import(url) };
}
