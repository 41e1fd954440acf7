/** Runs the command in the process of the tests, as myscript.ts does in its own: for what needs no process to be seen. */
import { EventEmitter } from "node:events";
import { PassThrough, Readable } from "node:stream";
import { runCommand } from "../lib/command/cli.ts";
import type { Io } from "../lib/command/io.ts";
import { doWork, type Query } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import type { Ended } from "./run.ts";

export interface CommandOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Standard input. @default nothing */
  readonly input?: string | Uint8Array;
  /** What `buildQueries()` would yield. @default nothing */
  readonly queries?: AsyncIterable<Query> | Iterable<Query>;
}

process.env.HOME = "/nonexistent"; // without an option file of whoever runs the tests

/** Runs it to its end; what takes longer than a minute is ended as by a signal. */
export async function runHere(args: readonly string[], options: CommandOptions = {}): Promise<Ended> {
  const { env = {}, input = "", queries = [] } = options;
  const printed = { stdout: "", stderr: "" };
  const stream = (name: keyof typeof printed) =>
    new PassThrough().setEncoding("utf8").on("data", (text) => {
      printed[name] += text;
    });
  const streams = { stdin: Readable.from([Buffer.from(input)]), stdout: stream("stdout"), stderr: stream("stderr") };
  const io = Object.assign(new EventEmitter(), { argv: ["node", "myscript.ts", ...args], env, ...streams });
  const patience = setTimeout(() => io.emit("SIGTERM"), 60_000);
  const status = await runCommand(
    (command) => {
      myglobals.config = { db: command.db };
      return doWork(command.queries ?? queries, command.workers, command.options);
    },
    io as unknown as Io,
  );
  clearTimeout(patience);
  return { status, ...printed };
}
