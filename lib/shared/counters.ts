/** Counters in shared memory for the bar, and the tally behind the summary. */
import { Histogram } from "./histogram.ts";
import type { Outcome } from "./segment.ts";

/** Int32 numbers of one lane. They fill two cache lines, so that no two threads write to the same one. */
const laneLength = 32;
/** Place in the parent's lane of the highest worker number that may claim. */
const lastWorkerAt = 16;
const names = ["done", "failed", "unknown", "warnings"] as const;

export type Counter = (typeof names)[number];
export type Counts = Record<Counter, number>;

/**
 * One lane of counters for each worker. Only that worker writes to it.
 *
 * Lane 0 is the parent's, and workers count from 1. The numbers have 32 bits: at most 2,147,483,647 queries per worker.
 */
export class Counters {
  readonly shared: SharedArrayBuffer;
  readonly #int32: Int32Array;

  constructor(workers: number | SharedArrayBuffer) {
    this.shared = typeof workers === "number" ? new SharedArrayBuffer((workers + 1) * laneLength * 4) : workers;
    this.#int32 = new Int32Array(this.shared);
    if (typeof workers === "number") this.lastWorker = workers;
  }

  /** Highest number of a worker that may claim. Workers read it before each claim. */
  get lastWorker(): number {
    return Atomics.load(this.#int32, lastWorkerAt);
  }

  set lastWorker(number: number) {
    Atomics.store(this.#int32, lastWorkerAt, number);
  }

  add(lane: number, counter: Counter, count = 1): void {
    Atomics.add(this.#int32, lane * laneLength + names.indexOf(counter), count);
  }

  /** Number of failed and unknown queries in the workers' lanes. */
  get failures(): number {
    return this.#sum("failed") + this.#sum("unknown");
  }

  /** Number of warnings, including those of queries that were rolled back. */
  get warnings(): number {
    return this.#sum("warnings");
  }

  #sum(name: Counter, from = laneLength): number {
    let count = 0;
    for (let at = from; at < this.#int32.length; at += laneLength) {
      count += Atomics.load(this.#int32, at + names.indexOf(name));
    }
    return count;
  }

  /** Returns the sums of all lanes. */
  read(): Counts {
    return Object.fromEntries(names.map((name) => [name, this.#sum(name, 0)])) as Counts;
  }
}

/** Outcomes of the queries. `total` is the sum of `done`, `failed`, `unknown` and `skipped`. */
export interface Result {
  total: number;
  done: number;
  failed: number;
  unknown: number;
  skipped: number;
  /** Number of these that an earlier run has ended, by outcome. */
  earlier: { done: number; failed: number; unknown: number };
  /** Number of times that a query was sent again. */
  retries: number;
  /** Rows returned and changed. */
  rows: number;
  latencyMs: { p50: number; p95: number; p99: number; max: number };
  /** Warnings and notes of the server in queries that are done. It counts at most 65,535 for each statement. */
  warnings: number;
  /** Number of queries with warnings. */
  warnedQueries: number;
  /** The first 100 queries that failed or are unknown. */
  failures: Failure[];
  /** Failures counted by kind, for the first 100 kinds. */
  failureKinds: FailureKind[];
}

/** A query that is done with warnings. */
export interface WarnedQuery {
  seq: number;
  /** `file:line` if the query came from a file. */
  at?: string;
  /** The beginning of the query. */
  sql: string;
  warnings: number;
  /** The server's text about the rows, such as `Records: 3  Deleted: 0  Skipped: 1  Warnings: 2`. */
  info?: string;
  /**
   * The first three messages. Missing if the server had dropped them, because other statements followed in the same round trip.
   * Empty if it did not return them, because another statement of the query followed, or a proxy answered `SHOW WARNINGS` itself.
   */
  messages?: { level: string; code: number; message: string }[];
}

/** Most warned queries in the summary. */
export const warnedKept = 10;

/** Failures with the same outcome, code and message. */
export interface FailureKind {
  count: number;
  first: Failure;
  /** The next ones, at most four. */
  next: { seq: number; at?: string }[];
}

export interface Failure {
  seq: number;
  /** `file:line` if the query came from a file, or else its key. */
  at?: string;
  /** The key that the caller has given it. */
  key?: string;
  /** The beginning of the query, or the description of another unit of work. */
  sql: string;
  /** The query's values as JSON, long ones cut. Missing if it has none. */
  values?: unknown[];
  /** A unit of work that is not SQL, as JSON. Long parts are cut. */
  unit?: unknown;
  outcome: "failed" | "unknown";
  /** Such as `ER_NO_SUCH_TABLE`. */
  code: string;
  errno?: number;
  message: string;
}

/** A query that has ended. */
export interface Ended {
  seq: number;
  outcome: Outcome;
  tries: number;
  /** Time of its claim, in milliseconds since the epoch. */
  start: number;
  durationMs: number;
  rows: number;
  warnings?: number;
  failure: Omit<Failure, "seq" | "outcome"> | undefined;
}

/** Adds up the outcomes of the queries. It is exact, because it reads their records. */
export class Tally {
  readonly #counts = { done: 0, failed: 0, unknown: 0, skipped: 0 };
  readonly #latency = new Histogram();
  readonly #failures: Failure[] = [];
  readonly #kinds = new Map<string, FailureKind>();
  readonly #earlier = { done: 0, failed: 0, unknown: 0 };
  #retries = 0;
  #rows = 0;
  #warnings = 0;
  #warnedQueries = 0;

  add({ seq, outcome, tries, durationMs, rows, warnings = 0, failure }: Ended): void {
    this.#counts[outcome]++;
    if (outcome === "skipped") return;
    this.#latency.add(durationMs);
    this.#retries += Math.max(0, tries - 1);
    this.#rows += rows;
    this.#warnings += warnings;
    if (warnings > 0) this.#warnedQueries++;
    if (outcome !== "done" && failure) this.#addFailure({ seq, outcome, ...failure });
  }

  #addFailure(failure: Failure): void {
    const { outcome, code, message, seq, at } = failure;
    if (this.#failures.length < failuresKept) this.#failures.push(failure);
    // The line or row in the message does not make a kind of its own.
    const key = `${outcome} ${code} ${message.replace(/ at (?:row|line) \d+/g, "")}`;
    const kind = this.#kinds.get(key);
    if (!kind) {
      if (this.#kinds.size < failuresKept) this.#kinds.set(key, { count: 1, first: failure, next: [] });
      return;
    }
    kind.count++;
    if (kind.next.length < nextKept) kind.next.push({ seq, ...(at !== undefined && { at }) });
  }

  /** Counts a query that an earlier run has ended. */
  addEarlier(outcome: Exclude<Outcome, "skipped">): void {
    this.#counts[outcome]++;
    this.#earlier[outcome]++;
  }

  /** Number of queries that an earlier run has ended. */
  get earlier(): number {
    return sum(this.#earlier);
  }

  /** Number of ended queries, without those of an earlier run. */
  get ended(): number {
    return sum(this.#counts) - this.earlier;
  }

  /** Number of failed queries, without those of an earlier run. */
  get failed(): number {
    return this.#counts.failed - this.#earlier.failed;
  }

  /** Number of unknown queries, without those of an earlier run. */
  get unknown(): number {
    return this.#counts.unknown - this.#earlier.unknown;
  }

  get warnings(): number {
    return this.#warnings;
  }

  get latencyMs(): Result["latencyMs"] {
    const percentile = (percent: number) => this.#latency.percentile(percent);
    return { p50: percentile(50), p95: percentile(95), p99: percentile(99), max: this.#latency.max };
  }

  result(): Result {
    return {
      total: sum(this.#counts),
      ...this.#counts,
      earlier: { ...this.#earlier },
      retries: this.#retries,
      rows: this.#rows,
      latencyMs: this.latencyMs,
      warnings: this.#warnings,
      warnedQueries: this.#warnedQueries,
      failures: this.#failures.toSorted((a, b) => a.seq - b.seq),
      failureKinds: [...this.#kinds.values()].toSorted((a, b) => a.first.seq - b.first.seq),
    };
  }
}

function sum({ done, failed, unknown, skipped = 0 }: Result["earlier"] & { skipped?: number }): number {
  return done + failed + unknown + skipped;
}

const failuresKept = 100;
const nextKept = 4;
