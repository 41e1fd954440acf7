#!/usr/bin/env -S sh -c 'f=$(readlink -f "$0"); exec "${f%/*}/node_modules/.bin/tsx" "$f" "$@"'
/** Runs a big batch of SQL in parallel. Make this file yours. */
import { doWork, myglobals, runCommand } from "../../lib/index.ts";

/** Yields SQL text, or a query with values. These change nothing: put yours in their place. */
function* buildQueries() {
  yield "DO 1";
  for (const seconds of [0.1, 0.2]) yield { sql: "DO SLEEP(?)", values: [seconds] };
}

process.exitCode = await runCommand(({ db, queries, workers, options }) => {
  myglobals.config = { db }; // every worker gets a copy of myglobals
  return doWork(queries ?? buildQueries(), workers, options); // queries: those of the SQL files, if any are named
});
