/**
 * Exactly once: each query runs in one transaction with the insert of its row into the ledger, a table of the same server.
 *
 * The primary key of the row is the query's key, or its seq if it has none. A second session that inserts the same row waits until
 * the first transaction has ended. It then finds that the query is done, or runs it itself. So a query whose connection was lost is
 * retried, and several machines may run the same batch. A query that may cause an implicit commit cannot be rolled back. Its row is
 * inserted after it.
 *
 * The statements, each line is one round trip:
 *
 *     plain text        START TRANSACTION; INSERT; the query; COMMIT
 *
 *     values, rows,     START TRANSACTION; INSERT
 *     a longer text     the query
 *                       COMMIT
 *
 *     DDL, CALL and     START TRANSACTION; SELECT FOR UPDATE; COMMIT; START TRANSACTION; SAVEPOINT
 *     all others        the query
 *                       RELEASE SAVEPOINT; INSERT; COMMIT      an error of RELEASE: the query has caused an implicit commit
 */
import type { Connection } from "mysql2";
import { isBatchable } from "../../mysql/batchable.ts";
import { type DatabaseError, isLost, verdictOf } from "../../mysql/errors.ts";
import { execute, notPreparable } from "../../mysql/execute.ts";
import { interruption, isInterrupted } from "../../mysql/interrupt.ts";
import { prepare } from "../../mysql/prepared.ts";
import { keepsTransaction, statementIn } from "../../mysql/statement.ts";
import { checkValues } from "../../shared/query.ts";
import type { Job } from "../../worker/job.ts";
import type { Session } from "../../worker/session.ts";
import type { Thread } from "../../worker/thread.ts";
import { commit, initialState, release, rollback, savepoint, send, start } from "./ledger-transaction.ts";
import { anotherQuery, duplicateKey, type LedgerRow, locking, rowOf } from "./row.ts";

/** Error that ends the run: the ledger has another query under this seq or key, or cannot be used any more. */
export class LedgerError extends Error {
  readonly code = "LEDGER";
}

/** One try of one query. */
export class LedgerAttempt {
  readonly state = { ...initialState };
  readonly #job: Job;
  readonly #session: Session;
  readonly #thread: Thread;
  readonly #table: string;
  readonly #row: LedgerRow;
  readonly #insert: string;
  readonly #select: string;
  /** The statement that the server answers next. Undefined while the query is sent alone. */
  #answering: string | Buffer | undefined;
  #rows = 0;
  #hasRun = false;

  constructor(job: Job, session: Session, thread: Thread, table: string) {
    this.#job = job;
    this.#session = session;
    this.#thread = thread;
    this.#table = table;
    this.#row = rowOf(job);
    const { column, id, hash } = this.#row;
    this.#insert = `INSERT INTO ${table} (${column}, hash) VALUES (${id}, '${hash}')`;
    this.#select = selectOf(table, this.#row);
  }

  /** Calls `done` with the number of rows that the query returned or changed, 0 if the ledger had it. */
  async run(checkLedgerFirst: boolean, done: (rows: number) => void): Promise<void> {
    if (this.#job.bytes === undefined) checkValues(this.#job.query); // before anything is sent
    done(await this.#runOnce(checkLedgerFirst).catch((error) => this.#recover(error)));
  }

  async #runOnce(checkLedgerFirst: boolean): Promise<number> {
    const { text, bytes } = this.#job;
    // If rows are delivered, the COMMIT is sent only when all of them have arrived.
    const isPlain = bytes !== undefined && isBatchable(text) && !this.#thread.rows.isWanted;
    const keeps = isPlain || (await keepsForSure(this.#session.mysql, text));
    if (checkLedgerFirst) {
      const known = await this.#look(this.#select); // without a lock: the INSERT waits for a row that is being inserted
      if (known !== undefined) return this.#alreadyInLedger(known);
    }
    if (isPlain) await this.#send([start, this.#insert, bytes, commit]);
    else if (keeps) {
      await this.#send([start, this.#insert]);
      await this.#runAlone();
      if (isInterrupted(this.#session.mysql)) throw interruption();
      await this.#send([commit]);
    } else {
      const known = await this.#look(`${locking(this.#select)};${start};${savepoint}`);
      if (known !== undefined) {
        await this.#send([rollback]);
        return this.#alreadyInLedger(known);
      }
      this.state.mayHaveCommitted = true;
      await this.#runAlone();
      await this.#record();
    }
    return this.#rows;
  }

  /** Rolls back after an error. Returns the number of rows if the ledger has the query nevertheless. @throws the error otherwise. */
  async #recover(error: DatabaseError): Promise<number> {
    if (error instanceof LedgerError) throw error;
    const { state } = this;
    const { errno } = error;
    if (isLost(error)) throw state.mayHaveCommitted ? this.#undecided(error) : error;
    const answering = this.#answering;
    state.mayBeRecorded &&= answering === commit; // otherwise the server has stopped before it
    const isLedgers = answering === this.#insert || (answering === this.#select && !state.mayHaveCommitted);
    // ER_LOCK_WAIT_TIMEOUT or ER_QUERY_INTERRUPTED by --timeout: the query of another session takes that long.
    state.heldByAnother = isLedgers && (errno === 1205 || errno === 1317);
    const asksLedger = answering === commit || (answering === this.#insert && errno === duplicateKey);
    let known: string | undefined;
    let isPartlyDone = false;
    try {
      const { text } = this.#job;
      const isAtomic = statementIn(text).isAtomic && !text.includes(";");
      if (state.mayHaveCommitted && !isAtomic) isPartlyDone = !(await this.#isInside());
      known = asksLedger
        ? await this.#look(`${rollback};${locking(this.#select)}`)
        : void (await this.#session.ask(rollback));
    } catch (failure) {
      this.#session.mysql.destroy(); // the server rolls back what was open
      if (asksLedger) throw this.#undecided(failure as DatabaseError);
    }
    if (known === this.#row.hash && answering === commit) return this.#rows;
    if (known !== undefined) return this.#alreadyInLedger(known);
    if (isLedgers && !state.mayHaveCommitted && !state.heldByAnother && !asksLedger && verdictOf(error) === "failed") {
      throw new LedgerError(`Cannot go on: the ledger cannot be used any more: ${error.message}`);
    }
    if (state.mayHaveCommitted && this.#hasRun) throw this.#undecided(error, "It ran, but is not in the ledger: ");
    if (isPartlyDone) throw this.#undecided(error, "It may have committed a part: ");
    if (state.heldByAnother)
      throw Object.assign(new Error(error.message), { code: "ER_LOCK_WAIT_TIMEOUT", errno: 1205 });
    throw error;
  }

  /** Returns true if the transaction that was begun for the query is still open. */
  async #isInside(): Promise<boolean> {
    try {
      await this.#session.ask(release);
      return true;
    } catch (error) {
      if ((error as DatabaseError).errno !== noSavepoint) throw error;
      return false;
    }
  }

  /** Returns the hash in the row, if there is one. With `locking()`, waits for a transaction that is inserting it, at most the connect timeout. */
  async #look(text: string): Promise<string | undefined> {
    this.#answering = this.#select;
    return (await this.#session.ask(text))[0]?.[0] ?? undefined;
  }

  /** Sends statements in one round trip. After an error, `#answering` is the statement that failed. */
  async #send(statements: readonly (string | Buffer)[]): Promise<void> {
    this.#answering = statements[0];
    await send(this.#session.mysql, this.state, statements, (at, rows) => {
      const statement = statements[at];
      if (statement === this.#insert) this.state.inserted = true;
      else if (statement === release) this.state.mayHaveCommitted = false;
      else if (statement === this.#job.bytes) this.#rows = rows;
      this.#answering = statements[at + 1];
    });
  }

  async #runAlone(): Promise<void> {
    this.#answering = undefined;
    this.#rows = await execute(
      this.#session.mysql,
      this.#job.query,
      this.#thread.rows.listener([this.#job], this.#session.mysql),
    );
    this.#hasRun = true;
  }

  /** Inserts the row of a query that has run. If the savepoint is gone, the query has caused an implicit commit. */
  async #record(): Promise<void> {
    try {
      await this.#send([release, this.#insert, commit]);
    } catch (error) {
      if (this.#answering !== release || (error as DatabaseError).errno !== noSavepoint) throw error;
      this.state.selfCommitted = true;
      await this.#send([this.#insert, commit]);
    }
  }

  /** Returns an error after which only the ledger, if anything, shows the outcome of the query. */
  #undecided({ message, code = "CONNECTION_LOST", mayHaveRun = false }: DatabaseError, what = ""): DatabaseError {
    return Object.assign(new Error(what + message), { code, fatal: true, mayHaveRun: mayHaveRun || this.#hasRun });
  }

  #alreadyInLedger(known: string): number {
    if (known !== this.#row.hash) throw new LedgerError(anotherQuery(this.#job.seq, this.#job.unit, this.#table));
    this.state.alreadyInLedger = true;
    return 0;
  }
}

const noSavepoint = 1305; // ER_SP_DOES_NOT_EXIST

export function selectOf(table: string, { column, id }: LedgerRow): string {
  return `SELECT hash FROM ${table} WHERE ${column} = ${id}`;
}

/** Returns true if a text is one statement that leaves its transaction open. */
async function keepsForSure(connection: Connection, text: string): Promise<boolean> {
  return keepsTransaction(text) && (!text.includes(";") || (await isOneStatement(connection, text)));
}

/**
 * Returns true if a text is one statement. Asks the server to prepare it, which refuses more than one. Error 1295 means one
 * statement of a kind that cannot be prepared.
 *
 * @throws mysql2's QueryError if the connection is lost.
 */
async function isOneStatement(connection: Connection, sql: string): Promise<boolean> {
  try {
    await prepare(connection, sql);
    connection.unprepare(sql); // not `close()`: mysql2 would execute the closed one
    return true;
  } catch (error) {
    const { fatal, errno } = error as DatabaseError;
    if (fatal) throw error;
    return errno === notPreparable;
  }
}
