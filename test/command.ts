/** Runs the command in the process of the tests, which costs a tenth of a process of its own. See `run.ts` for that. */
import { EventEmitter } from "node:events";
import { PassThrough, Readable } from "node:stream";
import { runCommand } from "../lib/command/cli.ts";
import type { Io } from "../lib/command/feature.ts";
import type { Command } from "../lib/command/setup.ts";
import { doWork, type Query, type Summary } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import type { Ended } from "./run.ts";

export interface CommandOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Standard input. @default empty */
  readonly input?: string | Uint8Array;
  /** The queries of a run without files, as from `buildQueries()`. @default none */
  readonly queries?: AsyncIterable<unknown> | Iterable<unknown>;
  /** A script whose `workerDo()` runs `queries`. */
  readonly script?: URL;
  /** The argument of `runCommand()`. @default runs the queries of the files, or else `queries` */
  readonly main?: ((command: Command) => Promise<Summary>) | undefined;
  /** The script's name, as in `argv[1]`. @default myscript.ts */
  readonly name?: string;
}

/** A command that is running in this process. */
export interface RunningHere {
  readonly ended: Promise<Ended>;
  /** Delivers a signal to the command only. */
  kill(signal: NodeJS.Signals): void;
}

/** Runs a command to its end. */
export function runHere(args: readonly string[], options?: CommandOptions): Promise<Ended> {
  return startHere(args, options).ended;
}

/**
 * Starts a command and does not wait for its end. After a minute, the command gets a SIGTERM.
 *
 * Commands that run at the same time must have the same server and HOME, because `myglobals` and the environment belong to the
 * process.
 */
export function startHere(args: readonly string[], options: CommandOptions = {}): RunningHere {
  const { env = {}, input = "", queries = [], script, name = "myscript.ts" } = options;
  process.env.HOME = env.HOME ?? "/nonexistent"; // without the option file of the person who runs the tests
  const printed = { stdout: "", stderr: "" };
  const stream = (name: keyof typeof printed) =>
    new PassThrough().setEncoding("utf8").on("data", (text) => {
      printed[name] += text;
    });
  const streams = { stdin: Readable.from([Buffer.from(input)]), stdout: stream("stdout"), stderr: stream("stderr") };
  const io = Object.assign(new EventEmitter(), { argv: ["node", name, ...args], env, ...streams });
  const kill = (signal: NodeJS.Signals) => void io.emit(signal);
  const patience = setTimeout(kill, 60_000, "SIGTERM");
  const main = (command: Command) => {
    myglobals.config = { db: command.db };
    if (script) return doWork(queries, command.workers, { ...command.options, script });
    return doWork(command.queries ?? (queries as Iterable<Query>), command.workers, command.options);
  };
  const ended = runCommand(options.main ?? main, io as unknown as Io).then((status) => {
    clearTimeout(patience);
    return { status, ...printed };
  });
  return { ended, kill };
}
