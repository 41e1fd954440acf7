/**
 * Exactly once for several queries: in one transaction and one round trip.
 *
 *     START TRANSACTION; INSERT of their rows; SAVEPOINT; the queries; COMMIT
 *
 * The server stops at the first error, before the COMMIT. What the query that failed had done is undone by the server; those
 * before it are committed, without the rows of the others, and those after it go together anew:
 *
 *     RELEASE SAVEPOINT; DELETE of these rows; COMMIT            without the savepoint, all is rolled back already
 *
 * Whatever else goes wrong, such as a deadlock, a lost connection or a COMMIT that fails, decides all of them together: the
 * ledger has all of their rows or none. Then each is tried again by itself.
 */
import { type DatabaseError, isLost, isRefusal, verdictOf } from "../../mysql/errors.ts";
import { executeText, toBytes } from "../../mysql/execute.ts";
import { noteWarnings, takeWarnings, type Warned } from "../../mysql/warnings.ts";
import type { Job } from "../../worker/job.ts";
import type { Session } from "../../worker/session.ts";
import type { Thread } from "../../worker/thread.ts";
import { commit, duplicateKey, nothing, release, rollback, savepoint, separator, start } from "./once.ts";
import { type IdColumn, type LedgerRow, rowOf } from "./row.ts";

interface Entry {
  readonly job: Job;
  readonly row: LedgerRow;
  rows: number;
  warned: Warned | undefined;
  /** The ledger had it already. */
  doneBefore: boolean;
}

/** Of the statements in a round trip: which one inserts the rows, and which is the first query. */
const insertAt = 1;
const firstQueryAt = 3;

/** One try of several queries, all of which can share a round trip. */
export class OnceTogether {
  readonly state = { ...nothing };
  readonly #entries: readonly Entry[];
  readonly #session: Session;
  readonly #thread: Thread;
  readonly #table: string;

  constructor(jobs: readonly Job[], session: Session, thread: Thread, table: string) {
    this.#entries = jobs.map((job) => ({ job, row: rowOf(job), rows: 0, warned: undefined, doneBefore: false }));
    this.#session = session;
    this.#thread = thread;
    this.#table = table;
  }

  /** Calls `done` for one query after the other that is committed; rejects with what the next one, or all of them, met. */
  async run(probablyDone: boolean, done: (rows: number) => void): Promise<void> {
    let failed: { readonly entry: Entry; readonly error: DatabaseError } | undefined;
    try {
      if (probablyDone) await this.#look("");
      failed = await this.#runAll();
    } catch (error) {
      if (!isLost(error as DatabaseError)) {
        await this.#session.ask(rollback).catch(() => this.#session.mysql.destroy()); // the server rolls back what was open
      }
      for (const { job } of this.#entries) job.mayBeRecorded ||= this.state.mayBeRecorded;
      if (isRefusal(error as DatabaseError)) throw error; // nothing of it is the fault of one of them
      this.state.goesAlone = true;
      for (const { job } of this.#entries.slice(1)) job.addTry();
      throw error;
    }
    for (const entry of this.#entries) {
      if (entry === failed?.entry) throw failed.error;
      this.state.doneBefore = entry.doneBefore;
      if (entry.doneBefore && !entry.job.mayBeRecorded) this.#thread.counters.add(this.#session.worker, "doneBefore");
      const { warned } = entry;
      if (warned) noteWarnings(this.#session.mysql, warned.count, warned.info);
      done(entry.rows);
    }
  }

  /** Runs those that the ledger does not have; returns the one that failed, where those before it are committed. */
  async #runAll() {
    for (let left = this.#left; left.length > 0; left = this.#left) {
      try {
        await this.#send(left);
        return undefined;
      } catch (thrown) {
        const error = thrown as DatabaseError;
        const { answered = 0 } = error;
        error.answered = undefined; // these were not all its own
        const isBeforeCommit = !isLost(error) && answered < firstQueryAt + left.length;
        if (isBeforeCommit) this.state.mayBeRecorded = false;
        if (answered === insertAt && error.errno === duplicateKey) {
          await this.#look(`${rollback};`);
          if (this.#left.length === left.length) throw error; // somebody has deleted what was in the way
          continue;
        }
        const entry = left[answered - firstQueryAt];
        if (!entry || isLost(error)) throw error;
        await this.#keepBefore(left.slice(answered - firstQueryAt), error);
        // Its error alone, as a prepared statement, is what counts.
        this.state.goesAlone = entry.job.bytes === undefined;
        return { entry, error };
      }
    }
    return undefined;
  }

  async #send(entries: readonly Entry[]): Promise<void> {
    const rows = entries.map(({ row: { id, hash } }) => `(${id}, '${hash}')`);
    const insert = `INSERT INTO ${this.#table} (${this.#column}, hash) VALUES ${rows.join(",")}`;
    const statements = [start, insert, savepoint, ...entries.map(({ job }) => job.batchText!), commit];
    const pieces = statements.flatMap((statement) => [toBytes(statement), separator]).slice(0, -1);
    this.state.inserted = false;
    this.state.mayBeRecorded = true;
    let since = performance.now();
    await executeText(this.#session.mysql, pieces, {
      onDone: (at, rows) => {
        if (at === insertAt) this.state.inserted = true;
        const entry = entries[at - firstQueryAt];
        const warned = takeWarnings(this.#session.mysql);
        if (entry) Object.assign(entry, { rows, warned });
        const now = performance.now();
        if (statements[at] === commit) this.state.commitMs = now - since;
        since = now;
      },
    });
  }

  /** Commits what ran before the first of these. @throws DatabaseError when all is rolled back, or nobody knows. */
  async #keepBefore(others: readonly Entry[], error: DatabaseError): Promise<void> {
    // One by one: the server may look at all rows for a list of some, and wait for other workers' rows.
    const deletes = others.map(({ row }) => `DELETE FROM ${this.#table} WHERE ${row.column} = ${row.id}`);
    try {
      this.state.mayBeRecorded = true;
      await this.#session.ask([release, ...deletes, commit].join(";"));
    } catch (failure) {
      throw verdictOf(failure as DatabaseError) === "unknown" ? failure : error;
    }
  }

  /** Looks which of them the ledger has, once those are committed that others are adding. */
  async #look(before: string): Promise<void> {
    const ids = this.#entries.map(({ row }) => row.id);
    const where = `FORCE INDEX (PRIMARY) WHERE ${this.#column} IN (${ids})`;
    const select = `SELECT ${this.#column}, hash FROM ${this.#table} ${where} LOCK IN SHARE MODE`;
    const found = new Map((await this.#session.ask(before + select)).map(([id, hash]) => [id, hash]));
    for (const entry of this.#entries) {
      const hash = found.get(entry.row.printed);
      if (hash !== undefined && hash !== entry.row.hash)
        throw new Error(`Query ${entry.job.seq} is not the one in the ledger`);
      entry.doneBefore = hash !== undefined;
    }
  }

  get #column(): IdColumn {
    return this.#entries[0]!.row.column;
  }

  /** Those that the ledger does not have, in the order in which all copies of a run insert: so these wait, and do not deadlock. */
  get #left(): Entry[] {
    return this.#entries.filter(({ doneBefore }) => !doneBefore);
  }
}
