/**
 * The worker's side: what a process of the original's Pool did.
 *
 * A thread carries one or several workers. Each calls `workerInit()` once, has one connection of its own, and runs one query
 * at a time: it claims the next one in shared memory, runs it, and writes into the query's record how it ended.
 */
import type { Connection } from "mysql2";
import { claimBatch, runBatch } from "./batch.ts";
import { close, connect, connectionIn, execute } from "./connection.ts";
import { myglobals } from "./myglobals.ts";
import type { Query } from "./queue.ts";
import { exactValues } from "./rows.ts";
import { open, run, type Script } from "./run.ts";
import { claimNext, data, hangUp, listen } from "./thread.ts";

/** Runs once in each worker, before its first query. What it returns is given to `workerDo()` as the connection. */
export function workerInit(): Promise<Connection> {
  const options = { ...myglobals.config.db, ...(data.rows && exactValues) };
  return connect(data.batch > 1 ? { ...options, multipleStatements: true } : options);
}

/**
 * Runs one query.
 *
 * @returns the number of rows it returned or changed.
 */
export function workerDo(query: Query, connection: Connection): Promise<number> {
  return execute(connection, query);
}

listen();
const own: Partial<Script> = data.script === undefined ? {} : await import(data.script);
const script: Script = { workerInit: own.workerInit ?? workerInit, workerDo: own.workerDo };
await Promise.all(data.workers.map(work));
hangUp();

async function work(worker: number): Promise<void> {
  let session = await open(worker, script);
  while (session) {
    const claim = await claimNext(worker);
    if (!claim) break;
    if (data.batch === 1 || script.workerDo) {
      session = await run(worker, claim, session, script);
      continue;
    }
    const { together, alone } = claimBatch(worker, claim, data.batch);
    session = await runBatch(worker, together, session, script);
    if (alone && session) session = await run(worker, alone, session, script);
  }
  const connection = connectionIn(session?.connection);
  if (connection) await close(connection);
}
