/**
 * The module that a script imports.
 *
 * Loads the command and the parent's side only when they are called. Worker threads import the script, too, and need neither.
 */
import type { Command } from "./command/setup.ts";
import { load } from "./load.ts";
import type { Summary } from "./mp.ts";
import { isThreadOfRun } from "./shared/own-thread.ts";

export type { Command } from "./command/setup.ts";
export type { Ended, Failure, Gate, Host, Query, Source, Summary, WorkOptions } from "./mp.ts";
export { type MyGlobals, myglobals, typedGlobals } from "./myglobals.ts";
export { RunError } from "./parent/errors.ts";
export { RetryError } from "./shared/causes.ts";
export type { WorkerInit } from "./worker/hosts.ts";
export type { WorkerDo, WorkerDoOptions } from "./worker/scripted.ts";

type Port = typeof import("./mp.ts");
type Execute = typeof import("./mysql/execute.ts").execute;
let port: Port | undefined;

/**
 * Runs `main` with the options of the command line, and prints the summary. Does nothing in a worker thread of a run, which
 * imports the script only for its `workerDo()`.
 *
 * @returns the exit status: 0 every query done; 1 some failed or were skipped; 2 usage, configuration or no server; 3 some are
 * unknown; 129, 130 and 143 after SIGHUP, SIGINT and SIGTERM.
 */
export async function runCommand(main: (command: Command) => Promise<Summary>): Promise<number> {
  if (isThreadOfRun()) return 0;
  const [{ runCommand }] = await Promise.all([load("command", () => import("./command/cli.ts")), loadPort()]);
  return runCommand(main);
}

/** Runs every query of the queue once. See `doWork()` in `mp.ts`. */
export const doWork = ((...args: Parameters<Port["doWork"]>) =>
  // Inside `main` the call is synchronous. Otherwise the stack of an error would lack the script's line.
  port ? port.doWork(...args) : loadPort().then((loaded) => loaded.doWork(...args))) as Port["doWork"];

/** Sends a query and returns its number of rows. See `execute()` in `mysql/execute.ts`. */
export const execute: Execute = isThreadOfRun() ? (await import("./mysql/execute.ts")).execute : loadAndExecute;

async function loadAndExecute(...args: Parameters<Execute>): Promise<number> {
  const { execute } = await load("execute", () => import("./mysql/execute.ts"));
  return execute(...args);
}

async function loadPort(): Promise<Port> {
  port = await load("port", () => import("./mp.ts"));
  return port;
}
