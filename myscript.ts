#!/usr/bin/env -S sh -c 'f=$(readlink -f "$0"); exec "${f%/*}/node_modules/.bin/tsx" "$f" "$@"'
/** Runs a big batch of SQL in parallel. Copy the folder and make this file yours. */
import { ranges } from "./lib/features/ranges/ranges.ts";
import { doWork, myglobals, runCommand } from "./lib/index.ts";

async function* buildQueries() {
  for await (const { where, values } of ranges(myglobals.config.db, "myscript_orders", { size: 100 })) {
    yield { sql: `UPDATE myscript_orders SET total = quantity * price WHERE ${where}`, values };
  }
}

process.exitCode = await runCommand(({ db, queries, workers, options }) => {
  myglobals.config = { db }; // every worker gets a copy of myglobals
  return doWork(queries ?? buildQueries(), workers, options); // queries: those of the SQL files, if any are named
});
