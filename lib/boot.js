import { existsSync } from "node:fs";
import module from "node:module";
import { pathToFileURL } from "node:url";
import { workerData } from "node:worker_threads";
import { evaluate } from "./evaluate.js";

// Starts worker/main.ts on any runtime. A worker thread does not inherit the TypeScript loader of its process. A runtime that
// does not read TypeScript gets a bundle of JavaScript, or registers tsx.
const { main, importScript } = await (workerData.bundle === undefined ? fromSource() : fromBundle(workerData.bundle));
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

async function fromBundle(path) {
  try {
    if (path.endsWith(".cjs")) {
      const { parts, keep } = evaluate(path, "thread");
      process.once("exit", keep);
      return await parts.worker();
    }
    process.setSourceMapsEnabled(true); // errors of the script in the bundle then name its lines
    return await import(pathToFileURL(path));
  } catch (error) {
    if (existsSync(path)) throw error;
    return fromSource(); // another run has removed the bundle, because a source has changed
  }
}
