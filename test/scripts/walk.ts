/** A script that slowly adds 1 to each row of `t`, in ranges whose size adapts to the query time. */
import { isMainThread } from "node:worker_threads";
import { runCommand } from "../../lib/command/cli.ts";
import type { Command } from "../../lib/command/setup.ts";
import { ranges } from "../../lib/features/ranges/ranges.ts";
import { doWork, type Query, type Summary } from "../../lib/mp.ts";
import { myglobals } from "../../lib/myglobals.ts";

async function* buildQueries(): AsyncGenerator<Query> {
  for await (const { where, values } of ranges(myglobals.config.db, "t", { size: 5, seconds: 0.05 })) {
    yield { sql: `UPDATE t SET v = v + 1 WHERE ${where} AND SLEEP(0.001) = 0`, values };
  }
}

async function main(command: Command): Promise<Summary> {
  myglobals.config = { db: command.db };
  return doWork(buildQueries(), command.workers, command.options);
}

if (isMainThread) process.exitCode = await runCommand(main);
