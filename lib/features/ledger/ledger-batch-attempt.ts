/**
 * Exactly once for several queries, in one transaction and one round trip.
 *
 *     START TRANSACTION; INSERT of their rows; SAVEPOINT; the queries; COMMIT
 *
 * The server stops at the first error, before the COMMIT. It undoes what the failed query has done. The queries before it are
 * committed, after the rows of the others were deleted. The queries after it are sent together again:
 *
 *     RELEASE SAVEPOINT; DELETE of the other rows; COMMIT        an error of RELEASE: all was rolled back already
 *
 * After any other error, such as a deadlock, a lost connection or a failed COMMIT, the ledger has all of their rows or none. Each
 * query is then retried alone.
 */
import { noteWarnings, takeWarnings, type Warned } from "../../mysql/connection-state.ts";
import { type DatabaseError, isLost, isRefusal, verdictOf } from "../../mysql/errors.ts";
import type { Job } from "../../worker/job.ts";
import type { Session } from "../../worker/session.ts";
import { commit, initialState, release, rollback, savepoint, send, start } from "./ledger-transaction.ts";
import { duplicateKey, type IdColumn, type LedgerRow, locking, rowOf } from "./row.ts";

interface Entry {
  readonly job: Job;
  readonly row: LedgerRow;
  rows: number;
  warned: Warned | undefined;
  /** True if the ledger had the row already. */
  alreadyInLedger: boolean;
}

/** Positions of statements in a round trip: the INSERT of the rows, and the first query. */
const insertAt = 1;
const firstQueryAt = 3;

/** One try of several queries in one round trip. */
export class LedgerBatchAttempt {
  readonly state = { ...initialState };
  readonly #entries: readonly Entry[];
  readonly #session: Session;
  readonly #table: string;

  constructor(jobs: readonly Job[], session: Session, table: string) {
    this.#entries = jobs.map((job) => ({ job, row: rowOf(job), rows: 0, warned: undefined, alreadyInLedger: false }));
    this.#session = session;
    this.#table = table;
  }

  /** Calls `done` for each committed query, in order. Rejects with the error of the next query, or of all of them. */
  async run(checkLedgerFirst: boolean, done: (rows: number) => void): Promise<void> {
    let failed: { readonly entry: Entry; readonly error: DatabaseError } | undefined;
    try {
      if (checkLedgerFirst) await this.#look((select) => select);
      failed = await this.#runAll();
    } catch (error) {
      if (!isLost(error as DatabaseError)) {
        await this.#session.ask(rollback).catch(() => this.#session.mysql.destroy()); // the server rolls back what was open
      }
      if (isRefusal(error as DatabaseError)) throw error; // not the fault of one of them
      this.state.retryAlone = true;
      for (const { job } of this.#entries.slice(1)) job.addTry();
      throw error;
    }
    for (const entry of this.#entries) {
      if (entry === failed?.entry) throw failed.error;
      this.state.alreadyInLedger = entry.alreadyInLedger;
      const { warned } = entry;
      if (warned) noteWarnings(this.#session.mysql, warned);
      done(entry.rows);
    }
  }

  /** Runs the queries that the ledger does not have. Returns the one that failed, if those before it are committed. */
  async #runAll() {
    for (let left = this.#left; left.length > 0; left = this.#left) {
      try {
        await this.#send(left);
        return undefined;
      } catch (thrown) {
        const error = thrown as DatabaseError;
        const { answered = 0 } = error;
        error.answered = undefined; // it counts statements of all the queries
        const isBeforeCommit = !isLost(error) && answered < firstQueryAt + left.length;
        if (isBeforeCommit) this.state.mayBeRecorded = false;
        if (answered === insertAt && error.errno === duplicateKey) {
          await this.#look((select) => `${rollback};${locking(select)}`);
          if (this.#left.length === left.length) throw error; // somebody has deleted the duplicate row
          continue;
        }
        const entry = left[answered - firstQueryAt];
        if (!entry || isLost(error)) throw error;
        await this.#keepBefore(left.slice(answered - firstQueryAt), error);
        // A query that is not plain text is retried alone. Only its error as a prepared statement counts.
        this.state.retryAlone = entry.job.bytes === undefined;
        return { entry, error };
      }
    }
    return undefined;
  }

  async #send(entries: readonly Entry[]): Promise<void> {
    const rows = entries.map(({ row: { id, hash } }) => `(${id}, '${hash}')`);
    const insert = `INSERT INTO ${this.#table} (${this.#column}, hash) VALUES ${rows.join(",")}`;
    const statements = [start, insert, savepoint, ...entries.map(({ job }) => job.batchText as Uint8Array), commit];
    this.state.inserted = false;
    await send(this.#session.mysql, this.state, statements, (at, rows) => {
      if (at === insertAt) this.state.inserted = true;
      const warned = takeWarnings(this.#session.mysql);
      const entry = entries[at - firstQueryAt];
      if (entry) Object.assign(entry, { rows, warned });
    });
  }

  /** Commits the queries before `others`. @throws DatabaseError if all was rolled back, or if that is unknown. */
  async #keepBefore(others: readonly Entry[], error: DatabaseError): Promise<void> {
    // One DELETE per row. For a list, the server may scan the whole table, and wait for rows of other workers.
    const deletes = others.map(({ row }) => `DELETE FROM ${this.#table} WHERE ${row.column} = ${row.id}`);
    try {
      this.state.mayBeRecorded = true;
      await this.#session.ask([release, ...deletes, commit].join(";"));
      this.state.mayBeRecorded = false;
    } catch (failure) {
      throw verdictOf(failure as DatabaseError) === "unknown" ? failure : error;
    }
  }

  /** Looks up which of the queries the ledger has. With `locking()`, waits for transactions that are inserting one of the rows. */
  async #look(textOf: (select: string) => string): Promise<void> {
    const ids = this.#entries.map(({ row }) => row.id);
    const where = `FORCE INDEX (PRIMARY) WHERE ${this.#column} IN (${ids})`;
    const text = textOf(`SELECT ${this.#column}, hash FROM ${this.#table} ${where}`);
    const found = new Map((await this.#session.ask(text)).map(([id, hash]) => [id, hash]));
    for (const entry of this.#entries) {
      const hash = found.get(entry.row.printed);
      if (hash !== undefined && hash !== entry.row.hash)
        throw new Error(`Query ${entry.job.seq} is not the one in the ledger`);
      entry.alreadyInLedger = hash !== undefined;
    }
  }

  get #column(): IdColumn {
    return this.#entries[0]!.row.column;
  }

  /** Queries that the ledger does not have. All copies of a run insert them in this order, so that they wait and do not deadlock. */
  get #left(): Entry[] {
    return this.#entries.filter(({ alreadyInLedger }) => !alreadyInLedger);
  }
}
