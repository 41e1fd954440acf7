/** A run's job log: what has been released to the workers and what has ended, on disk. */
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { UsageError, why } from "../../command/errors.ts";
import type { Ended, Failure } from "../../shared/counters.ts";
import { hashOf } from "../../shared/hash.ts";
import { describeUnit, describeValues, nameOfQuery } from "../../shared/query.ts";
import type { Notes } from "../../shared/reading.ts";
import type { Outcome } from "../../shared/segment.ts";
import { AppendFile, syncDirectory } from "./append-file.ts";
import { commentOf, header, lineOf, linesDone, noteOf, type Past, readLog, readNotes } from "./journal-lines.ts";
import { openLocked } from "./lock.ts";

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

/**
 * Opens the job log and locks it; with `resume`, reads what earlier runs left.
 *
 * @throws UsageError when it is another run's, is there without `resume`, or cannot be opened, written or understood.
 */
export async function openJournal(path: string, options: JournalOptions): Promise<Journal> {
  let handle: FileHandle | undefined;
  try {
    handle = await openLocked(path);
    const { size } = await handle.stat();
    if (size > 0 && !options.resume) {
      throw new UsageError(`Job log ${path} exists: give --resume to go on with it, or remove it`);
    }
    const past = await readLog(handle, path);
    checkShard(past, path, options);
    if (past.bytes < size) await handle.truncate(past.bytes); // the last line was cut off
    if (past.bytes === 0) {
      await handle.appendFile(header);
      await handle.sync();
      await syncDirectory(dirname(path));
    }
    return new Journal(handle, path, past, options, "append");
  } catch (error) {
    await handle?.close();
    throw error instanceof UsageError ? error : new UsageError(`Cannot use ${path}: ${why(error)}`);
  }
}

/**
 * Reads what earlier runs have left, to look at: writes nothing, and does not mind a run that is using the log.
 *
 * @throws UsageError when it is not there, is another run's, or cannot be understood.
 */
export async function readJournal(path: string, options: JournalOptions): Promise<Journal> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path);
    const past = await readLog(handle, path);
    checkShard(past, path, options);
    return new Journal(handle, path, past, options, "read");
  } catch (error) {
    await handle?.close();
    throw error instanceof UsageError ? error : new UsageError(`Cannot use ${path}: ${why(error)}`);
  }
}

function checkShard({ released, shard }: Past, path: string, options: JournalOptions): void {
  if (released === 0 || shard === (options.shard ?? "")) return;
  const was = shard ? `with --shard ${shard}` : "without --shard";
  throw new UsageError(`Cannot resume ${path}: it was written ${was}`);
}

export class Journal implements Notes {
  /** Whether an earlier run has begun: what its connections had set is gone. */
  readonly isResumed: boolean;
  /** The first queries that `earlier()` has called unknown. */
  readonly leftUnknown: { readonly seq: number; readonly unit: unknown }[] = [];
  readonly #handle: FileHandle;
  /** Not there when it is only to be read. */
  readonly #file: AppendFile | undefined;
  readonly #path: string;
  readonly #past: Past;
  readonly #options: JournalOptions;
  /** Queries with an earlier line that are to run again: first to be released, then released and not ended. */
  readonly #toReopen: { readonly seq: number; readonly line: string }[] = [];
  readonly #reopened = new Set<number>();
  #released: number;
  /** The last seq of the input so far. */
  #last = 0;

  constructor(handle: FileHandle, path: string, past: Past, options: JournalOptions, use: "read" | "append") {
    this.#handle = handle;
    this.#file = use === "append" ? new AppendFile(handle, path) : undefined;
    this.#path = path;
    this.#past = past;
    this.#options = options;
    this.#released = past.released;
    this.isResumed = past.released > 0;
  }

  /**
   * What became of a query in an earlier run when it is not to be run again, else undefined; to be asked for every query, once,
   * in the order of the input, before its release.
   *
   * @throws UsageError naming the first seq whose query is not the one in the log.
   */
  earlier(seq: number, unit: unknown): Exclude<Outcome, "skipped"> | undefined {
    this.#last = seq;
    const { known, released } = this.#past;
    const { retryUnknown, retryFailed } = this.#options;
    const hash = known.has(seq) ? hashOf(unit) : "";
    if (known.has(seq) && !known.matches(seq, hash)) {
      const name = nameOfQuery(seq, unit);
      throw new UsageError(`Cannot resume ${this.#path}: ${name} is not the one in the log: give it the same input`);
    }
    const hasDied = known.has(seq) ? known.isReopened(seq) : seq <= released;
    const outcome = hasDied ? "unknown" : known.outcome(seq);
    if (outcome === "unknown") {
      if (retryUnknown) return undefined;
      if (hasDied) this.#note({ ...runDied, seq, start: Date.now() }, unit);
      if (this.leftUnknown.length < unknownKept) this.leftUnknown.push({ seq, unit });
      return outcome;
    }
    if (outcome === "done" || (outcome === "failed" && !retryFailed)) return outcome;
    if (outcome && this.#file)
      this.#toReopen.push({ seq, line: lineOf({ seq, outcome: "reopened" }, hash, describeUnit(unit)) });
    return undefined;
  }

  /**
   * Notes that queries with a seq up to `seq` may be claimed from now on; resolves when this is on disk.
   *
   * @throws Error when the log cannot be written, now and ever after.
   */
  async releaseTo(seq: number): Promise<void> {
    let lines = "";
    const later = this.#toReopen.findIndex((query) => query.seq > seq);
    for (const query of this.#toReopen.splice(0, later < 0 ? this.#toReopen.length : later)) {
      this.#reopened.add(query.seq);
      lines += query.line;
    }
    if (seq > this.#released) {
      this.#released = seq;
      lines += lineOf({ seq, outcome: "released" }, "", this.#options.shard);
    }
    await this.#file?.write(lines);
  }

  /** Notes how a query ended, `skipped` ones too; on disk within 200 ms. Not for what `earlier()` has answered. */
  ended(ended: Ended, unit: unknown): void {
    const { seq, outcome } = ended;
    const isReopened = this.#reopened.delete(seq);
    // What this run did not release has nothing to take back.
    if (outcome === "skipped" && !isReopened && (seq <= this.#past.released || seq > this.#released)) return;
    this.#note(ended, unit);
  }

  /** Writes a line for people, which is skipped when the log is read. */
  comment(text: string): void {
    this.#file?.writeSoon(commentOf(text));
  }

  read(name: string): AsyncIterable<unknown> {
    return readNotes(this.#handle, this.#past.bytes, name);
  }

  write(name: string, note: unknown): void {
    this.#file?.writeSoon(noteOf(name, note));
  }

  /**
   * To be asked when the input has been read to its end.
   *
   * @throws UsageError when the log has queries beyond it.
   */
  checkEnd(): void {
    const known = Math.max(this.#past.known.last, this.#past.released);
    if (this.#last >= known) return;
    const log = `job log ${this.#path} has query ${known}`;
    throw new UsageError(`The input has changed: it ends with query ${this.#last}, and ${log}`);
  }

  /** Notes that queries which are done are unknown, as their rows may not have been read. Returns these queries. */
  async takeBack(seqs: ReadonlySet<number>): Promise<Failure[]> {
    await this.flush();
    const failures: Failure[] = [];
    let lines = "";
    for (const { seq, hash, query } of await linesDone(this.#handle, seqs)) {
      failures.push({ seq, outcome: "unknown", sql: query, ...rowsLost });
      lines += lineOf({ seq, outcome: "unknown", failure: { sql: "", ...rowsLost } }, hash, query);
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

  #note(ended: Ended, unit: unknown): void {
    // What is done needs no looking into, and would cost more with its values.
    const describe = ended.outcome === "failed" || ended.outcome === "unknown" ? describeWhole : describeUnit;
    this.#file?.writeSoon(lineOf(ended, hashOf(unit), describe(unit)));
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
