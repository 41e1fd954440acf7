#!/usr/bin/env -S sh -c 'f=$(readlink -f "$0"); exec "${f%/*}/node_modules/.bin/tsx" "$f" "$@"'
/** Runs a big batch of SQL in parallel, on worker threads. Copy the folder and make this file yours. */
import { isMainThread } from "node:worker_threads";
import mysql from "mysql2/promise";
import { type Command, runCommand } from "./lib/command/cli.ts";
import { doWork, type Query, type Summary } from "./lib/mp.ts";
import { myglobals } from "./lib/myglobals.ts";

/** Yields the update of one range of primary keys after another. */
async function* buildQueries(step = 100): AsyncGenerator<Query> {
  const connection = await mysql.createConnection(myglobals.config.db);
  const [rows] = await connection.query("SELECT MIN(id) AS low, MAX(id) AS high FROM myscript_orders");
  await connection.end();
  const { low, high } = (rows as { low: number; high: number }[])[0]!;
  for (let id = low; id <= high; id += step) {
    const sql = "UPDATE myscript_orders SET total = quantity * price WHERE id BETWEEN ? AND ?";
    yield { sql, values: [id, id + step - 1] };
  }
}

async function main(command: Command): Promise<Summary> {
  myglobals.config = { db: command.db };
  const queries = command.queries ?? buildQueries();
  return doWork(queries, command.workers, command.options);
}

if (isMainThread) process.exitCode = await runCommand(main);
