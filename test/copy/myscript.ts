#!/usr/bin/env -S sh -c 'f=$(readlink -f "$0"); exec "${f%/*}/node_modules/.bin/tsx" "$f" "$@"'
/** Runs a big batch of SQL in parallel, on worker threads. Make this file yours. */
import { isMainThread } from "node:worker_threads";
import { type Command, runCommand } from "../../lib/command/cli.ts";
import { doWork, type Query, type Summary } from "../../lib/mp.ts";
import { myglobals } from "../../lib/myglobals.ts";

/** Yields SQL text, or a query with values. These change nothing: put yours in their place. */
function* buildQueries(): Generator<Query> {
  yield "DO 1";
  for (const seconds of [0.1, 0.2]) yield { sql: "DO SLEEP(?)", values: [seconds] };
}

async function main(command: Command): Promise<Summary> {
  myglobals.config = { db: command.db };
  const queries = command.queries ?? buildQueries(); // SQL files on the command line replace buildQueries()
  return doWork(queries, command.workers, command.options);
}

if (isMainThread) process.exitCode = await runCommand(main);
