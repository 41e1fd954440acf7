#!/usr/bin/env -S sh -c 'f=$(readlink -f "$0"); exec "${f%/*}/node_modules/.bin/tsx" "$f" "$@"'
/** Runs a big batch of SQL in parallel, on worker threads. Copy the folder and make this file yours. */
import { isMainThread } from "node:worker_threads";
import { type Command, runCommand } from "./lib/command/cli.ts";
import { ranges } from "./lib/features/ranges/ranges.ts";
import { doWork, type Query, type Summary } from "./lib/mp.ts";
import { myglobals } from "./lib/myglobals.ts";

/** Yields one UPDATE for each range of 100 rows. */
async function* buildQueries(): AsyncGenerator<Query> {
  for await (const { where, values } of ranges(myglobals.config.db, "myscript_orders", { size: 100 })) {
    yield { sql: `UPDATE myscript_orders SET total = quantity * price WHERE ${where}`, values };
  }
}

async function main(command: Command): Promise<Summary> {
  myglobals.config = { db: command.db };
  const queries = command.queries ?? buildQueries(); // SQL files on the command line replace buildQueries()
  return doWork(queries, command.workers, command.options);
}

if (isMainThread) process.exitCode = await runCommand(main);
