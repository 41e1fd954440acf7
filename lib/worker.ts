/**
 * The worker's side: what a process of the original's Pool did.
 *
 * A thread carries one or several workers. Each calls `workerInit()` once, has one connection of its own, and runs one query
 * at a time: it claims the next one in shared memory, runs it, and writes into the query's record how it ended.
 */
import type { Connection } from "mysql2";
import { claimBatch, runBatch } from "./batch.ts";
import { close, connect, connectionIn, type Host } from "./connection.ts";
import { execute } from "./execute.ts";
import { myglobals } from "./myglobals.ts";
import { giveUp, run } from "./run.ts";
import { goHome, open, type Script } from "./session.ts";
import { claimNext, data, hangUp, isDraining, listen, post } from "./thread.ts";
import type { Query } from "./unit.ts";

/**
 * Runs once in each worker, before its first query, and when it needs another connection. What it returns is given to
 * `workerDo()` as the connection.
 *
 * @param host where to connect to, when the run has several; else it is in `myglobals.config.db`.
 * @param connectTimeout how many milliseconds there are for it.
 */
export function workerInit(host?: Host, connectTimeout = 10_000): Promise<Connection> {
  const options = { connectTimeout, ...myglobals.config.db, ...host };
  return connect(data.batch > 1 || data.ledger !== undefined ? { ...options, multipleStatements: true } : options);
}

/**
 * Runs one query.
 *
 * @returns the number of rows it returned or changed.
 */
export function workerDo(query: Query, connection: Connection): Promise<number> {
  return execute(connection, query);
}

// Node 24 cuts small buffers, such as mysql2's packets, from slabs of 64 KiB. These live so long that V8 takes them for old,
// and frees none before its next full collection: tens of megabytes later.
Buffer.poolSize = 8192;
listen();
const own: Partial<Script> = data.script === undefined ? {} : await import(data.script);
const script: Script = { workerInit: own.workerInit ?? workerInit, workerDo: own.workerDo };
const refusal = data.ledger === undefined ? undefined : whyNotOnce(own);
if (refusal === undefined) await Promise.all(data.workers.map(work));
else post({ type: "refused", reason: `Cannot use a ledger with ${refusal}` });
hangUp();

async function work(worker: number): Promise<void> {
  let session = await open(worker, script);
  while (session) {
    session = await goHome(worker, session, script);
    const claim = await claimNext(worker);
    if (!claim) break;
    // A time limit is for one query: with several on their way, it could interrupt the next one.
    if (data.batch === 1 || data.timeoutMs || script.workerDo) {
      session = await run(worker, claim, session, script);
      continue;
    }
    const { together, alone } = claimBatch(worker, claim, data.batch);
    session = await runBatch(worker, together, session, script);
    if (alone && session && !isDraining()) session = await run(worker, alone, session, script);
    else if (alone) giveUp(worker, alone, alone.segment.mayHaveRun(alone.index), performance.now());
  }
  if (session?.inTransaction) {
    post({
      type: "broken",
      reason: `A transaction was left open: what worker ${worker} has run in it is rolled back`,
    });
  }
  const connection = connectionIn(session?.connection);
  if (connection) await close(connection);
}

/** A ledger takes queries that the default `workerDo()` runs, on a connection that takes several statements at once. */
function whyNotOnce({ workerDo, workerInit }: Partial<Script>): string | undefined {
  if (workerDo) return "a workerDo() of the script's own: it runs SQL queries";
  return workerInit && "a workerInit() of the script's own: set myglobals.config.db";
}
