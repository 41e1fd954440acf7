/** The job log of a run: records on disk which queries were released to the workers, and their outcomes. */
import type { FileHandle } from "node:fs/promises";
import { UsageError } from "../../command/errors.ts";
import type { Ended, Failure } from "../../shared/counters.ts";
import { hashOf, sameInput, sameKeys } from "../../shared/hash.ts";
import { describeUnit, keyOf, nameOfQuery } from "../../shared/query.ts";
import type { Outcome } from "../../shared/segment.ts";
import type { Checkpoints, NextCheckpoint } from "../../shared/source-context.ts";
import { AppendFile } from "./append-file.ts";
import {
  checkpointLine,
  commentOf,
  describeValues,
  type EarlierRuns,
  lineOf,
  linesDone,
  readCheckpoints,
  releasedLine,
} from "./journal-lines.ts";

/** Most unknown queries that are kept for the summary. */
const unknownKept = 10;

export interface JournalOptions {
  /** True to continue the log if it exists. */
  readonly resume: boolean;
  readonly retryFailed: boolean;
  readonly retryUnknown: boolean;
  /** The shard of the run, such as `1/3`. */
  readonly shard?: string;
}

export class Journal implements Checkpoints {
  /** True if an earlier run has begun. What was set on its connections is lost. */
  readonly isResumed: boolean;
  /** The last query that the input must have. */
  readonly knownTo: { readonly seq: number; readonly by: string };
  readonly isShared = false;
  /** The first queries for which `earlier()` returned `unknown`. */
  readonly leftUnknown: { readonly seq: number; readonly unit: unknown }[] = [];
  readonly #handle: FileHandle;
  /** Undefined if the log is only read. */
  readonly #file: AppendFile | undefined;
  readonly #path: string;
  readonly #earlierRuns: EarlierRuns;
  readonly #options: JournalOptions;
  /** Hashes of the queries to run, until they have ended. */
  readonly #hashes = new Map<number, string>();
  /** Queries that will be released. `#released` has those that were and have not ended. */
  readonly #toRelease: { readonly seq: number; readonly line: string }[] = [];
  readonly #released = new Set<number>();
  /** Lines about queries that a killed run has left. They are written once the input is known to be the same. */
  #diedLines = "";

  constructor(
    handle: FileHandle,
    path: string,
    earlierRuns: EarlierRuns,
    options: JournalOptions,
    use: "read" | "append",
  ) {
    this.#handle = handle;
    this.#file = use === "append" ? new AppendFile(handle, path) : undefined;
    this.#path = path;
    this.#earlierRuns = earlierRuns;
    this.#options = options;
    this.isResumed = earlierRuns.shard !== undefined;
    // Queries with keys may come in another order, and some may be missing.
    const seq = earlierRuns.isKeyed ? 0 : Math.max(earlierRuns.known.last, earlierRuns.released);
    this.knownTo = { seq, by: `job log ${path}` };
  }

  /**
   * Returns the outcome of a query in an earlier run, undefined if the query must run. Call it once for every query, in the order of
   * the input, before its release. A query that has failed or was not run may have another text now.
   *
   * @throws UsageError naming the first seq whose query is not the one in the log.
   */
  earlier(seq: number, unit: unknown, noun: "query" | "unit" = "query"): Exclude<Outcome, "skipped"> | undefined {
    const { known, released } = this.#earlierRuns;
    const { retryUnknown, retryFailed } = this.#options;
    const key = this.#keyOf(seq, unit, noun);
    const id = key === undefined ? seq : known.idOf(key);
    const hash = hashOf(unit);
    const hasLine = id !== undefined && known.has(id);
    const hasDied = hasLine ? known.isReleased(id) : key === undefined && seq <= released;
    const outcome = hasDied ? "unknown" : hasLine ? known.outcome(id) : undefined;
    if (hasLine && (outcome === "done" || outcome === "unknown") && !known.matches(id, hash))
      this.#refuse(seq, unit, noun);
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
    // A later `skipped` would cancel a `released` line, and hide that the query may have run.
    if (outcome !== "unknown")
      this.#toRelease.push({ seq, line: releasedLine(seq, hash, this.#options.shard ?? "", key) });
    return undefined;
  }

  /** @throws UsageError if the log has keys and the query has none, or the other way round. */
  #keyOf(seq: number, unit: unknown, noun: "query" | "unit"): string | undefined {
    const key = keyOf(unit);
    const { isKeyed } = this.#earlierRuns;
    if (isKeyed === undefined || isKeyed === (key !== undefined)) return key;
    const [has, have] = isKeyed ? ["no key", "keys"] : ["a key", "none"];
    const name = nameOfQuery(seq, unit, noun);
    throw new UsageError(
      `Cannot resume ${this.#path}: ${name} has ${has}, and those in the log have ${have}: begin a new log`,
    );
  }

  #refuse(seq: number, unit: unknown, noun: "query" | "unit"): never {
    const name = nameOfQuery(seq, unit, noun);
    const advice = this.#earlierRuns.isKeyed ? sameKeys : sameInput;
    throw new UsageError(`Cannot resume ${this.#path}: ${name} is not the one in the log: ${advice}`);
  }

  /**
   * Records that queries up to `seq` may be claimed from now on. Resolves when this is on disk.
   *
   * @throws Error if the log cannot be written. Each later call throws it, too.
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

  /** Records the outcome of a query, also `skipped`. It is on disk within 200 ms. Not for queries that `earlier()` has an outcome for. */
  ended(ended: Ended, unit: unknown): void {
    const { seq, outcome } = ended;
    const hash = this.#hashes.get(seq) ?? hashOf(unit);
    this.#hashes.delete(seq);
    const isReleased = this.#released.delete(seq);
    if (!isReleased && this.#toRelease.at(-1)?.seq === seq) this.#toRelease.pop(); // the ledger has it: it does not run
    // `skipped` cancels a `released` line, which a query that this run did not release has not got.
    if (outcome !== "skipped" || isReleased) this.#file?.writeSoon(this.#lineOf(ended, unit, hash));
  }

  /** Writes a comment line. Reading the log skips it. */
  comment(text: string): void {
    this.#file?.writeSoon(commentOf(text));
  }

  get isBegun(): boolean {
    return this.#earlierRuns.hasCheckpoints;
  }

  open(name: string): NextCheckpoint {
    const earlier = readCheckpoints(this.#handle, this.#earlierRuns.bytes, name);
    return async (find) => {
      const { value, done } = await earlier.next();
      if (!done) return value;
      const checkpoint = await find();
      if (checkpoint !== undefined) this.#file?.writeSoon(checkpointLine(name, checkpoint));
      return checkpoint;
    };
  }

  /** Records queries that are done as unknown, because their rows may not have been read. Returns these queries. */
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

  /** Writes the remaining lines. Resolves to the error if lines could not be written. */
  async flush(): Promise<Error | undefined> {
    return this.#file?.flush();
  }

  /** Writes the remaining lines and closes the log. @throws Error if lines could not be written and no caller got the error yet. */
  async close(): Promise<void> {
    await (this.#file ?? this.#handle).close();
  }

  #lineOf(ended: Ended, unit: unknown, hash: string): string {
    // Values are only written for queries that somebody will look into, because formatting them takes time.
    const describe = ended.outcome === "failed" || ended.outcome === "unknown" ? describeWhole : describeUnit;
    return lineOf(ended, hash, describe(unit), keyOf(unit));
  }
}

/** Returns the beginning of a query, with its values in an SQL comment. */
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
  failure: { code: "RUN_DIED", message: "Its run was killed before it recorded the outcome", sql: "" },
} as const;

const rowsLost = { code: "ROWS_LOST", message: "It is done, but some of its rows may not have been read" };
