/** Runs the command in the process of the tests, as myscript.ts does in its own: for what needs no process to be seen. */
import { EventEmitter } from "node:events";
import { PassThrough, Readable } from "node:stream";
import { type Command, runCommand } from "../lib/command/cli.ts";
import type { Io } from "../lib/command/feature.ts";
import { doWork, type Query, type Summary } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import type { Ended } from "./run.ts";

export interface CommandOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Standard input. @default nothing */
  readonly input?: string | Uint8Array;
  /** What `buildQueries()` would yield. @default nothing */
  readonly queries?: AsyncIterable<unknown> | Iterable<unknown>;
  /** Has a `workerDo()` for what they are. */
  readonly script?: URL;
  /** What a script gives to `runCommand()`. @default runs the queries */
  readonly main?: ((command: Command) => Promise<Summary>) | undefined;
  /** The script's name. @default myscript.ts */
  readonly name?: string;
}

/** A command that runs. */
export interface RunningHere {
  readonly ended: Promise<Ended>;
  /** Sends it a signal. */
  kill(signal: NodeJS.Signals): void;
}

/** Runs it to its end. */
export function runHere(args: readonly string[], options?: CommandOptions): Promise<Ended> {
  return startHere(args, options).ended;
}

/**
 * What takes longer than a minute is ended as by a signal. Several at a time must be for one server and one HOME: these are the
 * process's.
 */
export function startHere(args: readonly string[], options: CommandOptions = {}): RunningHere {
  const { env = {}, input = "", queries = [], script, name = "myscript.ts" } = options;
  process.env.HOME = env.HOME ?? "/nonexistent"; // without an option file of whoever runs the tests
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
