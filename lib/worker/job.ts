/** A claimed query, from its claim to its outcome. */
import { type Query, sqlOf } from "../shared/query.ts";
import type { Outcome, Segment } from "../shared/segment.ts";

export class Job {
  readonly seq: number;
  /** The number of times it was sent. */
  tries = 0;
  /** The number of its rows that were passed on. Another try would pass them on twice. */
  rows = 0;
  /** The number of warnings in the server's answer. */
  warnings = 0;
  /** True if it was sent, by this worker or an earlier one, and nobody knows whether it has run. */
  mayHaveRun: boolean;
  /** True if this run may have committed its row in a ledger: a `COMMIT` was sent and not answered. */
  mayBeRecorded: boolean;
  /** Text that a batch sends for it, false if it must have a round trip of its own. Undefined until somebody wants to know. */
  batchText: Uint8Array | false | undefined;
  /** True if it was a rollback, and the server has warned that what was done to tables without transactions stays. */
  leavesPart = false;
  /** The bytes of a text without values. */
  readonly bytes: Buffer | undefined;
  /** Error of its last try. */
  error: unknown;
  readonly #segment: Segment;
  readonly #index: number;
  readonly #start = performance.now();
  #text: string | undefined;
  #durationMs: number | undefined;

  constructor(segment: Segment, index: number) {
    this.#segment = segment;
    this.#index = index;
    this.seq = segment.seq(index);
    this.mayHaveRun = segment.mayHaveRun(index);
    this.mayBeRecorded = this.mayHaveRun;
    this.bytes = segment.text(index);
  }

  /** The query, or the unit of work of a script. */
  get unit(): unknown {
    return this.#segment.unit(this.#index);
  }

  /** The query to send. A text without values is not copied: it stays the bytes in the segment. */
  get query(): Query {
    return this.bytes ? { sql: this.bytes } : (this.unit as Query);
  }

  /** The SQL text, to look at and not to send: bytes are read as Latin-1. */
  get text(): string {
    this.#text ??= this.bytes?.toString("latin1") ?? sqlOf(this.unit);
    return this.#text;
  }

  addTry(): void {
    this.tries++;
    this.#segment.addTry(this.#index);
  }

  /** Uncounts the last try. The caller knows that no server could run it. */
  takeBackTry(): void {
    this.tries--;
    this.#segment.addTry(this.#index, -1);
  }

  noteRows(): void {
    this.#segment.noteRows(this.#index);
  }

  /** Notes that the server has answered inside a transaction that is still open. Its end decides the outcome. */
  markAwaitingCommit(): void {
    this.#durationMs = performance.now() - this.#start;
    this.#segment.markAwaitingCommit(this.#index, this.#durationMs);
  }

  /** Writes the outcome into the record. Must be the last call on this job. */
  end(outcome: Outcome, rows: number): void {
    const durationMs = this.#durationMs ?? performance.now() - this.#start;
    this.#segment.end(this.#index, outcome, durationMs, rows, outcome === "done" ? this.warnings : 0);
  }

  /** Gives it back to the queue, for any worker to claim. */
  unclaim(): void {
    this.#segment.unclaim(this.#index, this.mayHaveRun);
  }
}
