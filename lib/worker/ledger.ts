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

import { type DatabaseError, isLost, verdictOf } from "../mysql/errors.ts";
import { checkOneStatement, execute, lastValue } from "../mysql/execute.ts";
import {
  canShare,
  isAtomic,
  keepsTransaction,
  lastingStatement,
  textOf,
  transactionControl,
} from "../mysql/statement.ts";
import { hashOf } from "../shared/hash.ts";
import type { Query } from "../shared/query.ts";
import type { Executor } from "./executor.ts";
import type { Job } from "./job.ts";
import type { Session } from "./session.ts";
import type { Thread } from "./thread.ts";

/** What is known of a try, should its connection be lost. */
interface Trial {
  /** The row is inserted: it is locked until the transaction has ended. */
  inserted: boolean;
  /** Another session is running the query: it has inserted the row and not ended its transaction. */
  elsewhere: boolean;
  /** The query was sent, and may have committed by itself, without its row. */
  loose: boolean;
  /** The query has committed by itself. */
  selfCommitted: boolean;
}

/** The run cannot go on: the ledger has another query under this seq, or is not there any more; or the query is not for one. */
class LedgerError extends Error {
  readonly code = "LEDGER";
}

/** Errors of the ledger's own statements that do not pass: privileges, columns, the table itself. */
const ledgerGone = new Set<number | undefined>([1044, 1054, 1142, 1143, 1146]);

const start = "START TRANSACTION";
const commit = "COMMIT";
const savepoint = "SAVEPOINT myscript_ledger";
const release = `RELEASE ${savepoint}`;

/**
 * Runs each query and inserts its row, both or neither; a query that the ledger has is not run.
 *
 * @param table its name as SQL.
 */
export function ledgered(thread: Thread, table: string): Executor {
  const { idempotent } = thread.settings;
  const nothing: Trial = { inserted: false, elsewhere: false, loose: false, selfCommitted: false };
  const trial = { ...nothing };
  /** The last query was done before: the next one is probably, too, and asking for that costs the least. */
  let wasDone = false;
  return {
    needs: { multipleStatements: true },
    most: 1,
    joins: () => false,
    async attempt([job], session, done) {
      const rows = await runOnce(job!, session);
      if (trial.selfCommitted) thread.counters.add(session.worker, "selfCommitted");
      done(rows);
    },
    judge(_, error) {
      if (error instanceof LedgerError) thread.endRun("refused", error.message);
      const verdict = verdictOf(error);
      const mayHaveRun = verdict === "unknown";
      const isSettled = trial.inserted;
      if (verdict === "failed" || (mayHaveRun && trial.loose && !idempotent))
        return { mayHaveRun, isSettled, again: "no" };
      return { mayHaveRun, isSettled, again: trial.elsewhere ? "uncounted" : "counted", waits: verdict === "retry" };
    },
    async ask({ unit, seq }, { mysql }) {
      const known = await lastValue(mysql, selectOf(seq)).catch(() => null);
      if (known === hashOf(unit)) return "done";
      // Only of a row that was inserted, not of one that may be yet to come, does its absence tell.
      return known === null || !trial.inserted || trial.loose ? "unknown" : "failed";
    },
  };

  async function runOnce(job: Job, session: Session): Promise<number> {
    const { mysql: connection } = session;
    const { seq } = job;
    const query = job.unit as Query;
    const listener = thread.rows.listener([job], connection);
    const hash = hashOf(query);
    const insert = `INSERT INTO ${table} (seq, hash) VALUES (${seq}, '${hash}')`;
    const look = selectOf(seq);
    let answering: string | undefined; // what the server has not answered yet, of what is sent here
    let rows = 0;
    let ran = false;
    Object.assign(trial, nothing);
    const control = transactionControl(query);
    if (control) throw new Error(`Cannot run ${control} with a ledger: each query is a transaction of its own`);
    const lasting = lastingStatement(query);
    if (lasting)
      throw new LedgerError(`Cannot go on: with a ledger each query must stand by itself, without ${lasting}`);
    // With rows to be passed on, the commit waits until all of them have come.
    const text = canShare(query) && !listener.onResult ? textOf(query) : undefined;
    const sql = typeof query === "string" ? query : query.sql;
    if (text === undefined && sql.includes(";")) await checkOneStatement(connection, sql);
    try {
      if (wasDone) {
        answering = look;
        const known = await lastValue(connection, look);
        if (known !== undefined) return doneBefore(known);
        wasDone = false;
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
      wasDone = true;
      return 0;
    }
  }

  /** Waits for a transaction that is adding the row. */
  function selectOf(seq: number): string {
    return `SELECT hash FROM ${table} WHERE seq = ${seq} LOCK IN SHARE MODE`;
  }
}

/** An error after which nothing but the ledger, if anything, can tell what became of the query. */
function undecided({ message, code = "CONNECTION_LOST" }: DatabaseError, what = ""): Error {
  return Object.assign(new Error(what + message), { code, fatal: true });
}
