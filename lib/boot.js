import { existsSync } from "node:fs";
import module from "node:module";
import { pathToFileURL } from "node:url";
import { workerData } from "node:worker_threads";
import { evaluate } from "./evaluate.js";

// Starts worker/main.ts on any runtime. A worker thread does not get the loader of the process that started it: where the
// runtime does not read TypeScript by itself, there is a bundle of JavaScript, or else tsx.
const { main, importScript } = await (workerData.bundle === undefined ? fromSource() : fromBundle(workerData.bundle));
await main(workerData.port, workerData, importScript); // parentPort is the script's

async function fromSource() {
  // Node 22.8 and later: a third less time until the first query. By default it would be in a folder that anybody may have made.
  if (workerData.compileCache !== undefined) module.enableCompileCache?.(workerData.compileCache);
  if (!process.features.typescript && !process.versions.bun && !process.versions.deno) {
    await import("mysql2"); // plain JavaScript need not go through tsx
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
    process.setSourceMapsEnabled(true); // it has a script, whose errors name its lines
    return await import(pathToFileURL(path));
  } catch (error) {
    if (existsSync(path)) throw error;
    return fromSource(); // it was removed: what it was made of has changed
  }
}
