/**
 * Loads the modules behind a script's imports: from the bundle if this copy has that feature, otherwise from lib's files.
 * Under tsx, each file takes about 3 ms, and mysql2 about 100 ms.
 */
import { isMainThread } from "node:worker_threads";
import { features } from "./features/index.ts";
import * as myglobals from "./myglobals.ts";
import * as errors from "./parent/errors.ts";
import type { Parts, StartFiles, Startup } from "./shared/feature-entry.ts";

const startup = features.find((feature) => feature.startup)?.startup;
/** Modules that the bundle must take from here. Otherwise a process would have two copies of their state. */
const given = { "load.ts": { load, startFiles }, "myglobals.ts": myglobals, "parent/errors.ts": errors };
let parts: Promise<Parts | undefined> | undefined;

/** @param name name in the bundle of the part that `fromFiles` imports. */
export async function load<Part>(name: string, fromFiles: () => Promise<Part>): Promise<Part> {
  parts ??= bundled();
  const part = (await parts)?.[name];
  return part ? ((await part()) as Part) : fromFiles();
}

/** Prepares the files that threads start from. Returns `{}` if this copy has no bundle feature. */
export async function startFiles(script: string | URL | undefined): Promise<StartFiles> {
  return (await feature())?.startFiles(script) ?? {};
}

/** Returns the bundle's parts. A worker thread gets none here, because `boot.js` has loaded its bundle or files. */
async function bundled(): Promise<Parts | undefined> {
  return isMainThread ? (await feature())?.parts(given) : undefined;
}

async function feature(): Promise<Startup | undefined> {
  return (await startup?.())?.feature;
}
