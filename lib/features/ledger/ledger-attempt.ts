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
import { execute, executeText, toBytes } from "../../mysql/execute.ts";
import { interruption, isInterrupted } from "../../mysql/interrupt.ts";
import { statementIn } from "../../mysql/statement.ts";
import type { Job } from "../../worker/job.ts";
import type { Session } from "../../worker/session.ts";
import type { Thread } from "../../worker/thread.ts";
import { keepsForSure } from "./keeps.ts";
import { anotherQuery, type LedgerRow, locking, rowOf } from "./row.ts";

/** State of a try. It decides about the query if the connection is lost. */
export interface LedgerState {
  /** The row is inserted, and locked until the transaction ends. */
  inserted: boolean;
  /** Another session is running the query. It has inserted the row in a transaction that is still open. */
  heldByAnother: boolean;
  /** The query was sent, and may have caused an implicit commit without its row. */
  mayHaveCommitted: boolean;
  /** The query caused an implicit commit, for example DDL or a procedure with `COMMIT`. */
  selfCommitted: boolean;
  /** A `COMMIT` was sent, and may have succeeded. */
  mayBeRecorded: boolean;
  /** The ledger had the query already. */
  alreadyInLedger: boolean;
  /** The query was sent together with others, which may have caused its error. It must be retried alone. */
  retryAlone: boolean;
  /** Time of the COMMIT. */
  commitMs: number;
}

export const initialLedgerState: LedgerState = {
  inserted: false,
  heldByAnother: false,
  mayHaveCommitted: false,
  selfCommitted: false,
  mayBeRecorded: false,
  alreadyInLedger: false,
  retryAlone: false,
  commitMs: 0,
};

/** Error that ends the run: the ledger has another query under this seq or key, or cannot be used any more. */
export class LedgerError extends Error {
  readonly code = "LEDGER";
}

export const start = "START TRANSACTION";
export const commit = "COMMIT";
export const rollback = "ROLLBACK";
export const savepoint = "SAVEPOINT myscript_ledger";
export const release = `RELEASE ${savepoint}`;

/** One try of one query. */
export class LedgerAttempt {
  readonly state = { ...initialLedgerState };
  readonly #job: Job;
  readonly #session: Session;
  readonly #connection: Connection;
  readonly #thread: Thread;
  readonly #table: string;
  readonly #row: LedgerRow;
  readonly #insert: string;
  readonly #select: string;
  /** The statement that the server answers next. Undefined while it is the query itself. */
  #answering: string | undefined;
  #rows = 0;
  #hasRun = false;

  constructor(job: Job, session: Session, thread: Thread, table: string) {
    this.#job = job;
    this.#session = session;
    this.#connection = session.mysql;
    this.#thread = thread;
    this.#table = table;
    this.#row = rowOf(job);
    const { column, id, hash } = this.#row;
    this.#insert = `INSERT INTO ${table} (${column}, hash) VALUES (${id}, '${hash}')`;
    this.#select = selectOf(table, this.#row);
  }

  /** Returns the number of rows that the query returned or changed, 0 if the ledger had it. */
  async run(checkLedgerFirst: boolean): Promise<number> {
    const { text, bytes } = this.#job;
    // If rows are delivered, the COMMIT is sent only when all of them have arrived.
    const isPlain = bytes !== undefined && isBatchable(text) && !this.#thread.rows.isWanted;
    const keeps = isPlain || (await keepsForSure(this.#connection, text));
    try {
      if (checkLedgerFirst) {
        const known = await this.#look(this.#select); // without a lock: the INSERT waits for a row that is being inserted
        if (known !== undefined) return this.#alreadyInLedger(known);
      }
      if (isPlain) await this.#send([start, this.#insert, bytes, commit]);
      else if (keeps) {
        await this.#send([start, this.#insert]);
        await this.#runAlone();
        if (isInterrupted(this.#connection)) throw interruption();
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
    } catch (error) {
      if (error instanceof LedgerError) throw error;
      return await this.#recover(error as DatabaseError);
    }
  }

  /** Rolls back after an error. Returns the number of rows if the ledger has the query nevertheless. @throws the error otherwise. */
  async #recover(error: DatabaseError): Promise<number> {
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
      this.#connection.destroy(); // the server rolls back what was open
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
    const answeringOf = (at: number) => (typeof statements[at] === "string" ? statements[at] : undefined);
    this.#answering = answeringOf(0);
    const pieces = statements.flatMap((statement) => [toBytes(statement), separator]).slice(0, -1);
    let since = performance.now();
    this.state.mayBeRecorded = statements.includes(commit);
    await executeText(this.#connection, pieces, {
      onDone: (at, rows) => {
        if (statements[at] === this.#insert) this.state.inserted = true;
        else if (statements[at] === release) this.state.mayHaveCommitted = false;
        else if (typeof statements[at] !== "string") this.#rows = rows;
        this.#answering = answeringOf(at + 1);
        const now = performance.now();
        if (statements[at] === commit) this.state.commitMs = now - since;
        since = now;
      },
    });
  }

  async #runAlone(): Promise<void> {
    this.#answering = undefined;
    this.#rows = await execute(
      this.#connection,
      this.#job.query,
      this.#thread.rows.listener([this.#job], this.#connection),
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

export const separator = Buffer.from(";");
export const duplicateKey = 1062; // ER_DUP_ENTRY
const noSavepoint = 1305; // ER_SP_DOES_NOT_EXIST

export function selectOf(table: string, { column, id }: LedgerRow): string {
  return `SELECT hash FROM ${table} WHERE ${column} = ${id}`;
}
