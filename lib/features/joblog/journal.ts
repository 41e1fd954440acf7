/** A run's job log: what has been released to the workers and what has ended, on disk. */
import type { FileHandle } from "node:fs/promises";
import { UsageError } from "../../command/errors.ts";
import type { Ended, Failure } from "../../shared/counters.ts";
import { hashOf, sameKeys, sameQueries } from "../../shared/hash.ts";
import { describeUnit, describeValues, keyOf, nameOfQuery } from "../../shared/query.ts";
import type { NextNote, Notes } from "../../shared/reading.ts";
import type { Outcome } from "../../shared/segment.ts";
import { AppendFile } from "./append-file.ts";
import { commentOf, lineOf, linesDone, noteOf, type Past, readNotes, releasedLine } from "./journal-lines.ts";

/** How many of the queries that are left unknown are kept, to be shown. */
const unknownKept = 10;

export interface JournalOptions {
  /** Go on with the log, if it exists. */
  readonly resume: boolean;
  readonly retryFailed: boolean;
  readonly retryUnknown: boolean;
  /** `1/3`: the shard that runs, if not all do. */
  readonly shard?: string;
}

export class Journal implements Notes {
  /** Whether an earlier run has begun: what its connections had set is gone. */
  readonly isResumed: boolean;
  /** The last query that must be in the input. */
  readonly knownTo: { readonly seq: number; readonly by: string };
  readonly isShared = false;
  /** The first queries that `earlier()` has called unknown. */
  readonly leftUnknown: { readonly seq: number; readonly unit: unknown }[] = [];
  readonly #handle: FileHandle;
  /** Not there when it is only to be read. */
  readonly #file: AppendFile | undefined;
  readonly #path: string;
  readonly #past: Past;
  readonly #options: JournalOptions;
  /** The hashes of queries that are to be run, until they have ended. */
  readonly #hashes = new Map<number, string>();
  /** Queries that are to be released, then those that were and have not ended. */
  readonly #toRelease: { readonly seq: number; readonly line: string }[] = [];
  readonly #released = new Set<number>();
  /** Lines about queries that a killed run has left, until it is sure that this is their input. */
  #diedLines = "";
  /** The last seq of the input so far. */
  #last = 0;

  constructor(handle: FileHandle, path: string, past: Past, options: JournalOptions, use: "read" | "append") {
    this.#handle = handle;
    this.#file = use === "append" ? new AppendFile(handle, path) : undefined;
    this.#path = path;
    this.#past = past;
    this.#options = options;
    this.isResumed = past.shard !== undefined;
    // With keys, the queries may be others, in another order.
    const seq = past.isKeyed ? 0 : Math.max(past.known.last, past.released);
    this.knownTo = { seq, by: `job log ${path}` };
  }

  /**
   * What became of a query in an earlier run when it is not to be run again, else undefined; to be asked for every query, once,
   * in the order of the input, before its release. What has failed, or was not run, may be another query by now.
   *
   * @throws UsageError naming the first seq whose query is not the one in the log.
   */
  earlier(seq: number, unit: unknown): Exclude<Outcome, "skipped"> | undefined {
    this.#last = seq;
    const { known, released } = this.#past;
    const { retryUnknown, retryFailed } = this.#options;
    const key = this.#keyOf(seq, unit);
    const id = key === undefined ? seq : known.idOf(key);
    const hash = hashOf(unit);
    const hasLine = id !== undefined && known.has(id);
    const hasDied = hasLine ? known.isReleased(id) : key === undefined && seq <= released;
    const outcome = hasDied ? "unknown" : hasLine ? known.outcome(id) : undefined;
    if (hasLine && (outcome === "done" || outcome === "unknown") && !known.matches(id, hash)) this.#refuse(seq, unit);
    if (outcome === "unknown" && !retryUnknown) {
      if (hasDied) this.#diedLines += this.#lineOf({ ...runDied, seq, start: Date.now() }, unit, hash);
      if (this.leftUnknown.length < unknownKept) this.leftUnknown.push({ seq, unit });
    }
    if (seq >= this.knownTo.seq && this.#diedLines !== "") {
      this.#file?.writeSoon(this.#diedLines);
      this.#diedLines = "";
    }
    const isRun =
      outcome === undefined ||
      outcome === "skipped" ||
      (outcome === "failed" && retryFailed) ||
      (outcome === "unknown" && retryUnknown);
    if (!isRun) return outcome;
    if (!this.#file) return undefined;
    this.#hashes.set(seq, hash);
    // Another `skipped` must not take back that it may have run.
    if (outcome !== "unknown")
      this.#toRelease.push({ seq, line: releasedLine(seq, hash, this.#options.shard ?? "", key) });
    return undefined;
  }

  /** @throws UsageError where a log with keys meets a query without one, or the other way round. */
  #keyOf(seq: number, unit: unknown): string | undefined {
    const key = keyOf(unit);
    const { isKeyed } = this.#past;
    if (isKeyed === undefined || isKeyed === (key !== undefined)) return key;
    const [has, have] = isKeyed ? ["no key", "keys"] : ["a key", "none"];
    const name = nameOfQuery(seq, unit);
    throw new UsageError(
      `Cannot resume ${this.#path}: ${name} has ${has}, and the queries in the log have ${have}: begin a new log`,
    );
  }

  #refuse(seq: number, unit: unknown): never {
    const name = nameOfQuery(seq, unit);
    const advice = this.#past.isKeyed ? sameKeys : sameQueries;
    throw new UsageError(`Cannot resume ${this.#path}: ${name} is not the one in the log: ${advice}`);
  }

  /**
   * Notes that queries with a seq up to `seq` may be claimed from now on; resolves when this is on disk.
   *
   * @throws Error when the log cannot be written, now and ever after.
   */
  async releaseTo(seq: number): Promise<void> {
    let lines = "";
    const later = this.#toRelease.findIndex((query) => query.seq > seq);
    for (const query of this.#toRelease.splice(0, later < 0 ? this.#toRelease.length : later)) {
      this.#released.add(query.seq);
      lines += query.line;
    }
    await this.#file?.write(lines);
  }

  /** Notes how a query ended, `skipped` ones too; on disk within 200 ms. Not for what `earlier()` has answered. */
  ended(ended: Ended, unit: unknown): void {
    const { seq, outcome } = ended;
    const hash = this.#hashes.get(seq) ?? hashOf(unit);
    this.#hashes.delete(seq);
    const isReleased = this.#released.delete(seq);
    if (!isReleased && this.#toRelease.at(-1)?.seq === seq) this.#toRelease.pop(); // a ledger has it
    // What this run did not release has nothing to take back.
    if (outcome !== "skipped" || isReleased) this.#file?.writeSoon(this.#lineOf(ended, unit, hash));
  }

  /** Writes a line for people, which is skipped when the log is read. */
  comment(text: string): void {
    this.#file?.writeSoon(commentOf(text));
  }

  get isBegun(): boolean {
    return this.#past.hasNotes;
  }

  open(name: string): NextNote {
    const earlier = readNotes(this.#handle, this.#past.bytes, name);
    return async (find) => {
      const { value, done } = await earlier.next();
      if (!done) return value;
      const note = await find();
      if (note !== undefined) this.#file?.writeSoon(noteOf(name, note));
      return note;
    };
  }

  /**
   * To be asked when the input has been read to its end, without being run.
   *
   * @throws UsageError when the log has queries beyond it.
   */
  checkEnd(): void {
    const { seq, by } = this.knownTo;
    if (this.#last >= seq) return;
    throw new UsageError(
      `The input has changed: it ends with query ${this.#last}, and ${by} has query ${seq}: ${sameQueries}`,
    );
  }

  /** Notes that queries which are done are unknown, as their rows may not have been read. Returns these queries. */
  async takeBack(seqs: ReadonlySet<number>): Promise<Failure[]> {
    await this.flush();
    const failures: Failure[] = [];
    let lines = "";
    for (const { seq, hash, query, key } of await linesDone(this.#handle, seqs)) {
      failures.push({ seq, ...(key && { key }), outcome: "unknown", sql: query, ...rowsLost });
      lines += lineOf({ seq, outcome: "unknown", failure: { sql: "", ...rowsLost } }, hash, query, key);
    }
    await this.#file?.write(lines).catch(() => {}); // flush() says why
    return failures;
  }

  /** Writes what is left; resolves to the reason why the log does not have all that has ended, if there is one. */
  async flush(): Promise<Error | undefined> {
    return this.#file?.flush();
  }

  /** Writes what is left and lets go of the log. @throws Error when it cannot be written and nobody was told yet. */
  async close(): Promise<void> {
    await (this.#file ?? this.#handle).close();
  }

  #lineOf(ended: Ended, unit: unknown, hash: string): string {
    // What is done needs no looking into, and would cost more with its values.
    const describe = ended.outcome === "failed" || ended.outcome === "unknown" ? describeWhole : describeUnit;
    return lineOf(ended, hash, describe(unit), keyOf(unit));
  }
}

/** With its values in an SQL comment. */
function describeWhole(unit: unknown): string {
  const values = describeValues(unit);
  if (values === undefined) return describeUnit(unit);
  const { at } = unit as { at?: unknown };
  return `${describeUnit(unit)} -- ${typeof at === "string" ? `${at}: ` : ""}${values}`;
}

const runDied = {
  outcome: "unknown",
  tries: 0,
  durationMs: 0,
  rows: 0,
  failure: { code: "RUN_DIED", message: "Its run ended before it could say", sql: "" },
} as const;

const rowsLost = { code: "ROWS_LOST", message: "It is done, but not all of its rows are sure to have been read" };
