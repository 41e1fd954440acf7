/**
 * Exactly once: each query runs in one transaction with the insert of its row into the ledger, a table of the same server.
 *
 * The row's primary key is the query's seq or, where its owner gives it one, its key. Whoever inserts it second waits until the first transaction has ended, and then either
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
import { type DatabaseError, isLost, verdictOf } from "../../mysql/errors.ts";
import { execute, executeText, isOneStatement, toBytes } from "../../mysql/execute.ts";
import { interruption, isInterrupted } from "../../mysql/interrupt.ts";
import { isBatchable, keepsTransaction, statementIn } from "../../mysql/statement.ts";
import type { Job } from "../../worker/job.ts";
import type { Session } from "../../worker/session.ts";
import type { Thread } from "../../worker/thread.ts";
import { anotherQuery, type LedgerRow, rowOf } from "./row.ts";

/** What is known of a try, should its connection be lost. */
export interface LedgerState {
  /** The row is inserted: it is locked until the transaction has ended. */
  inserted: boolean;
  /** Another session is running the query: it has inserted the row and not ended its transaction. */
  heldByAnother: boolean;
  /** The query was sent, and may have committed by itself, without its row. */
  mayHaveCommitted: boolean;
  /** The query has committed by itself. */
  selfCommitted: boolean;
  /** A `COMMIT` was sent, and it may have been carried out. */
  mayBeRecorded: boolean;
  /** The ledger had the query already. */
  doneBefore: boolean;
  /** What it met may be no fault of its own, as it was sent together with others: it is to be tried by itself. */
  goesAlone: boolean;
  /** How long the COMMIT took. */
  commitMs: number;
}

export const nothing: LedgerState = {
  inserted: false,
  heldByAnother: false,
  mayHaveCommitted: false,
  selfCommitted: false,
  mayBeRecorded: false,
  doneBefore: false,
  goesAlone: false,
  commitMs: 0,
};

/** The run cannot go on: the ledger has another query under this seq, or cannot be used any more. */
export class LedgerError extends Error {
  readonly code = "LEDGER";
}

export const start = "START TRANSACTION";
export const commit = "COMMIT";
export const rollback = "ROLLBACK";
export const savepoint = "SAVEPOINT myscript_ledger";
export const release = `RELEASE ${savepoint}`;

/** One try of one query. */
export class Once {
  readonly state = { ...nothing };
  readonly #job: Job;
  readonly #session: Session;
  readonly #connection: Connection;
  readonly #thread: Thread;
  readonly #table: string;
  readonly #row: LedgerRow;
  readonly #insert: string;
  readonly #select: string;
  /** What the server has not answered yet, of what is sent here; undefined while it is the query itself. */
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

  /** Returns the number of rows that the query returned or changed, 0 when the ledger had it. */
  async run(probablyDone: boolean): Promise<number> {
    const { text, bytes } = this.#job;
    // With rows to be passed on, the commit waits until all of them have come.
    const isPlain = bytes !== undefined && isBatchable(text) && !this.#thread.rows.isWanted;
    const keeps =
      isPlain || (keepsTransaction(text) && (!text.includes(";") || (await isOneStatement(this.#connection, text))));
    try {
      if (probablyDone) {
        const known = await this.#look(this.#select);
        if (known !== undefined) return this.#doneBefore(known);
      }
      if (isPlain) await this.#send([start, this.#insert, bytes, commit]);
      else if (keeps) {
        await this.#send([start, this.#insert]);
        await this.#runAlone();
        if (isInterrupted(this.#connection)) throw interruption();
        await this.#send([commit]);
      } else {
        const known = await this.#look(`${this.#select};${start};${savepoint}`);
        if (known !== undefined) {
          await this.#send([rollback]);
          return this.#doneBefore(known);
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

  /** Undoes a try that has failed; returns the rows when the ledger has it all the same. */
  async #recover(error: DatabaseError): Promise<number> {
    const { state } = this;
    const { errno } = error;
    if (isLost(error)) throw state.mayHaveCommitted ? this.#undecided(error) : error;
    const answering = this.#answering;
    state.mayBeRecorded &&= answering === commit; // else the server has stopped before it
    const isLedgers = answering === this.#insert || (answering === this.#select && !state.mayHaveCommitted);
    // ER_LOCK_WAIT_TIMEOUT, or the time limit: it is another session's query that takes so long.
    state.heldByAnother = isLedgers && (errno === 1205 || errno === 1317);
    const asksLedger = answering === commit || (answering === this.#insert && errno === duplicateKey);
    let known: string | undefined;
    let isPartlyDone = false;
    try {
      const { text } = this.#job;
      const isAtomic = statementIn(text).isAtomic && !text.includes(";");
      if (state.mayHaveCommitted && !isAtomic) isPartlyDone = !(await this.#isInside());
      known = asksLedger ? await this.#look(`${rollback};${this.#select}`) : void (await this.#session.ask(rollback));
    } catch (failure) {
      this.#connection.destroy(); // the server rolls back what was open
      if (asksLedger) throw this.#undecided(failure as DatabaseError);
    }
    if (known === this.#row.hash && answering === commit) return this.#rows;
    if (known !== undefined) return this.#doneBefore(known);
    if (isLedgers && !state.mayHaveCommitted && !state.heldByAnother && !asksLedger && verdictOf(error) === "failed") {
      throw new LedgerError(`Cannot go on: the ledger cannot be used any more: ${error.message}`);
    }
    if (state.mayHaveCommitted && this.#hasRun) throw this.#undecided(error, "It ran, but is not in the ledger: ");
    if (isPartlyDone) throw this.#undecided(error, "It may have committed a part: ");
    if (state.heldByAnother)
      throw Object.assign(new Error(error.message), { code: "ER_LOCK_WAIT_TIMEOUT", errno: 1205 });
    throw error;
  }

  /** Whether the transaction that was begun for the query is still open. */
  async #isInside(): Promise<boolean> {
    try {
      await this.#session.ask(release);
      return true;
    } catch (error) {
      if ((error as DatabaseError).errno !== noSavepoint) throw error;
      return false;
    }
  }

  /** Looks for the row; what it waits for is answered within the connect timeout, or the connection is lost. */
  async #look(text: string): Promise<string | undefined> {
    this.#answering = this.#select;
    return (await this.#session.ask(text))[0]?.[0] ?? undefined;
  }

  /** Sends statements in one round trip; `#answering` tells which of them failed. */
  async #send(statements: readonly (string | Buffer)[]): Promise<void> {
    const answeringOf = (at: number) => (typeof statements[at] === "string" ? statements[at] : undefined);
    this.#answering = answeringOf(0);
    const pieces = statements.flatMap((statement, at) =>
      at === 0 ? [toBytes(statement)] : [separator, toBytes(statement)],
    );
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

  /** Adds the row of a query that has run; without the savepoint, it has committed by itself. */
  async #record(): Promise<void> {
    try {
      await this.#send([release, this.#insert, commit]);
    } catch (error) {
      if (this.#answering !== release || (error as DatabaseError).errno !== noSavepoint) throw error;
      this.state.selfCommitted = true;
      await this.#send([this.#insert, commit]);
    }
  }

  /** An error after which nothing but the ledger, if anything, can tell what became of the query. */
  #undecided({ message, code = "CONNECTION_LOST", mayHaveRun = false }: DatabaseError, what = ""): DatabaseError {
    return Object.assign(new Error(what + message), { code, fatal: true, mayHaveRun: mayHaveRun || this.#hasRun });
  }

  #doneBefore(known: string): number {
    if (known !== this.#row.hash) throw new LedgerError(anotherQuery(this.#job.seq, this.#job.unit, this.#table));
    this.state.doneBefore = true;
    return 0;
  }
}

export const separator = Buffer.from(";");
export const duplicateKey = 1062; // ER_DUP_ENTRY
const noSavepoint = 1305; // ER_SP_DOES_NOT_EXIST

/** Waits for a transaction that is adding the row. */
export function selectOf(table: string, { column, id }: LedgerRow): string {
  return `SELECT hash FROM ${table} WHERE ${column} = ${id} LOCK IN SHARE MODE`;
}
