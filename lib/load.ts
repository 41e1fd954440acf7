/**
 * Loads what stands behind a script's imports: from one file of JavaScript, where this copy makes one, or else from its
 * files. Under tsx, each file takes some 3 ms, and mysql2 a hundred.
 */
import { isMainThread } from "node:worker_threads";
import { features } from "./features/index.ts";
import * as myglobals from "./myglobals.ts";
import * as errors from "./parent/errors.ts";
import type { Parts, StartFiles, Startup } from "./shared/feature-entry.ts";

const startup = features.find((feature) => feature.startup)?.startup;
/** Modules of which there is one, whoever imports it. */
const given = { "load.ts": { load, startFiles }, "myglobals.ts": myglobals, "parent/errors.ts": errors };
let parts: Promise<Parts | undefined> | undefined;

/** @param name the name in the bundle of what `fromFiles` imports. */
export async function load<Part>(name: string, fromFiles: () => Promise<Part>): Promise<Part> {
  parts ??= bundled();
  const part = (await parts)?.[name];
  return part ? ((await part()) as Part) : fromFiles();
}

/** Has what the threads start from made ready, where this copy has the feature. */
export async function startFiles(script: string | URL | undefined): Promise<StartFiles> {
  return (await feature())?.startFiles(script) ?? {};
}

/** A thread has its own bundle, or its files. */
async function bundled(): Promise<Parts | undefined> {
  return isMainThread ? (await feature())?.parts(given) : undefined;
}

async function feature(): Promise<Startup | undefined> {
  return (await startup?.())?.feature;
}
