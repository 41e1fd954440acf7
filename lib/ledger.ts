/**
 * Exactly once: each query runs in one transaction with the insert of its row into the ledger, a table of the same server.
 *
 * The row's key is the query's seq. Whoever inserts it second waits until the first transaction has ended, and then either
 * finds that the query is done or has it for himself: so a query whose connection was lost is simply tried again, and several
 * machines may run the same batch. A query that may commit by itself cannot be undone: its row comes after it.
 *
 * Sent are, a line a round trip:
 *
 *     plain text        START TRANSACTION; INSERT; the query; COMMIT
 *
 *     values, rows,     START TRANSACTION; INSERT
 *     a longer text     the query
 *                       COMMIT
 *
 *     DDL, CALL and     SELECT; START TRANSACTION; SAVEPOINT
 *     all others        the query
 *                       RELEASE SAVEPOINT; INSERT; COMMIT      without the savepoint, the query has committed by itself
 */
import type { Connection } from "mysql2";
import { checkOneStatement, execute, lastValue, type ResultListener } from "./execute.ts";
import { hashOf } from "./hash.ts";
import { type DatabaseError, isLost } from "./outcome.ts";
import { canShare, isAtomic, keepsTransaction, lastingStatement, textOf, transactionControl } from "./statement.ts";
import type { Query } from "./unit.ts";

/** What is known of a try, should its connection be lost. */
export interface Trial {
  /** The row is inserted: it is locked until the transaction has ended. */
  inserted: boolean;
  /** Another session is running the query: it has inserted the row and not ended its transaction. */
  elsewhere: boolean;
  /** The query was sent, and may have committed by itself, without its row. */
  loose: boolean;
  /** The query has committed by itself. */
  selfCommitted: boolean;
}

export function newTrial(): Trial {
  return { inserted: false, elsewhere: false, loose: false, selfCommitted: false };
}

/** The run cannot go on: the ledger has another query under this seq, or is not there any more; or the query is not for one. */
export class LedgerError extends Error {
  readonly code = "LEDGER";
}

/** Errors of the ledger's own statements that do not pass: privileges, columns, the table itself. */
const ledgerGone = new Set<number | undefined>([1044, 1054, 1142, 1143, 1146]);

const start = "START TRANSACTION";
const commit = "COMMIT";
const savepoint = "SAVEPOINT myscript_ledger";
const release = `RELEASE ${savepoint}`;

/** Connections whose last query was done before: the next one is probably, too, and asking for that costs the least. */
const skimming = new WeakSet<Connection>();

/**
 * Runs one query and inserts its row, both or neither; a query that the ledger has is not run.
 *
 * @param table its name as SQL.
 * @returns the number of rows that the query returned or changed, 0 when the ledger had it.
 * @throws LedgerError when the ledger has another query under this seq, or cannot be used any more.
 */
export async function executeOnce(
  connection: Connection,
  query: Query,
  table: string,
  seq: number,
  trial: Trial,
  listener: ResultListener,
): Promise<number> {
  const hash = hashOf(query);
  const insert = `INSERT INTO ${table} (seq, hash) VALUES (${seq}, '${hash}')`;
  const look = selectOf(table, seq);
  let answering: string | undefined; // what the server has not answered yet, of what is sent here
  let rows = 0;
  let ran = false;
  Object.assign(trial, newTrial());
  const control = transactionControl(query);
  if (control) throw new Error(`Cannot run ${control} with a ledger: each query is a transaction of its own`);
  const lasting = lastingStatement(query);
  if (lasting) throw new LedgerError(`Cannot go on: with a ledger each query must stand by itself, without ${lasting}`);
  // With rows to be passed on, the commit waits until all of them have come.
  const text = canShare(query) && !listener.onResult ? textOf(query) : undefined;
  const sql = typeof query === "string" ? query : query.sql;
  if (text === undefined && sql.includes(";")) await checkOneStatement(connection, sql);
  try {
    if (skimming.has(connection)) {
      answering = look;
      const known = await lastValue(connection, look);
      if (known !== undefined) return doneBefore(known);
      skimming.delete(connection);
    }
    if (text !== undefined) await send(start, insert, text, commit);
    else if (keepsTransaction(query)) {
      await send(start, insert);
      await runAlone();
      await send(commit);
    } else {
      answering = look;
      const known = await lastValue(connection, `${look};${start};${savepoint}`);
      if (known !== undefined) {
        await send("ROLLBACK");
        return doneBefore(known);
      }
      trial.loose = true;
      await runAlone();
      await record();
    }
    return rows;
  } catch (cause) {
    const error = cause as DatabaseError;
    if (cause instanceof LedgerError) throw cause;
    if (isLost(error)) throw trial.loose ? undecided(error) : cause;
    const asksFirst = answering === insert || (answering === look && !trial.loose);
    // ER_LOCK_WAIT_TIMEOUT, or the time limit: it is another session's query that takes so long.
    trial.elsewhere = asksFirst && (error.errno === 1205 || error.errno === 1317);
    const asksLedger = answering === commit || (answering === insert && error.errno === 1062); // ER_DUP_ENTRY
    let known: string | undefined;
    let isPartlyDone = false;
    try {
      if (trial.loose && !isAtomic(query)) isPartlyDone = !(await isInside());
      if (asksLedger) known = await lastValue(connection, `ROLLBACK;${look}`);
      else await execute(connection, "ROLLBACK");
    } catch (failure) {
      connection.destroy(); // the server rolls back what was open
      if (asksLedger) throw undecided(failure as DatabaseError);
    }
    if (known === hash && answering === commit) return rows;
    if (known !== undefined) return doneBefore(known);
    if ((answering === insert || answering === look) && ledgerGone.has(error.errno)) {
      throw new LedgerError(`Cannot go on: the ledger cannot be used any more: ${error.message}`);
    }
    if (trial.loose && ran) throw undecided(error, "It ran, but is not in the ledger: ");
    if (isPartlyDone) throw undecided(error, "It may have committed a part: ");
    if (trial.elsewhere) throw Object.assign(new Error(error.message), { code: "ER_LOCK_WAIT_TIMEOUT", errno: 1205 });
    throw cause;
  }

  /** Whether the transaction that was begun for the query is still open. */
  function isInside(): Promise<boolean> {
    return execute(connection, release).then(
      () => true,
      (error: DatabaseError) => {
        if (error.errno !== 1305) throw error; // "SAVEPOINT does not exist"
        return false;
      },
    );
  }

  /** Sends statements in one round trip; `answering` tells which of them failed. */
  async function send(...statements: readonly string[]): Promise<void> {
    let at = 0;
    answering = statements[at];
    await execute(connection, statements.join(";"), {
      onDone(_, count) {
        if (answering === insert) trial.inserted = true;
        else if (answering === release) trial.loose = false;
        else if (answering === text) rows = count;
        answering = statements[++at];
      },
    });
  }

  async function runAlone(): Promise<void> {
    rows = await execute(connection, query, listener);
    ran = true;
  }

  async function record(): Promise<void> {
    try {
      await send(release, insert, commit);
    } catch (error) {
      if (answering !== release || (error as DatabaseError).errno !== 1305) throw error; // as above
      trial.selfCommitted = true;
      await send(insert, commit);
    }
  }

  function doneBefore(known: string): number {
    if (known !== hash) throw new LedgerError(`Cannot go on: query ${seq} is not the one in the ledger ${table}`);
    skimming.add(connection);
    return 0;
  }
}

/** Whether the ledger has a query, once the transaction that may be adding it has ended. */
export async function isRecorded(connection: Connection, query: Query, table: string, seq: number): Promise<boolean> {
  return (await lastValue(connection, selectOf(table, seq))) === hashOf(query);
}

/** Waits for a transaction that is adding the row. */
function selectOf(table: string, seq: number): string {
  return `SELECT hash FROM ${table} WHERE seq = ${seq} LOCK IN SHARE MODE`;
}

/** An error after which nothing but the ledger, if anything, can tell what became of the query. */
function undecided({ message, code = "CONNECTION_LOST" }: DatabaseError, what = ""): Error {
  return Object.assign(new Error(what + message), { code, fatal: true });
}
