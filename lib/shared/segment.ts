/**
 * Queries in shared memory.
 *
 * The parent packs queries into segments. A segment is one `SharedArrayBuffer` that every thread sees. A claim is one
 * compare-and-swap on the query's record, without a message. The records are also the only truth about the outcome of each
 * query, because they outlive a thread that dies.
 *
 * Layout of a segment, in bytes:
 *
 *     0         header: Int32 count, Int32 scanStart, Int32 admitted, Int32 unused, Float64 id
 *     24        4096 records of 48 bytes, one per query: Int32 state, Int32 tries,
 *               Float64 start (ms since the epoch), Float64 duration (ms), Float64 rows, Float64 seq, Float64 warnings
 *     196632    Uint32 offsets of the encoded queries, one more than there are queries
 *     213024    the encoded queries, 1 MiB or more: a byte for the encoding, then the bytes
 */
import { decodeUnit, textIn } from "./query.ts";

/** Outcome of a query. */
export type Outcome = "done" | "failed" | "unknown" | "skipped";

/** State of a query in its record: 0 if pending, the worker's number if claimed. A negative number holds worker and outcome. */
const pending = 0;
const outcomes: readonly Outcome[] = ["done", "failed", "unknown", "skipped"];

/** Returns the outcome in a record's state, `undefined` if the query has not ended. */
export function outcomeOf(state: number): Outcome | undefined {
  return state < 0 ? outcomes[(-1 - state) % outcomes.length] : undefined;
}

/** Returns the number of the worker that has claimed the query, from a record's state. 0 if none has. */
export function claimerOf(state: number): number {
  return state < 0 ? Math.floor((-1 - state) / outcomes.length) : state;
}

/** Added to a record's tries if an earlier claimer may have run the query. */
const mayHaveRunFlag = 1 << 24;

export const headerBytes = 24;
export const recordBytes = 48;
/** Positions in the header, in Int32 numbers. */
export const header = { count: 0, scanStart: 1, admitted: 2 } as const;
export const segmentQueries = 4096;
export const offsetsAt = headerBytes + segmentQueries * recordBytes;
export const bytesAt = offsetsAt + (segmentQueries + 2) * 4;
export const segmentBytes = 1 << 20;

/** A view of one segment, for the parent and for the threads. */
export class Segment {
  readonly shared: SharedArrayBuffer;
  readonly count: number;
  /** Number of the segment in its run. */
  readonly id: number;
  readonly #int32: Int32Array;
  readonly #float64: Float64Array;
  readonly #offsets: Uint32Array;
  readonly #bytes: Buffer;

  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#int32 = new Int32Array(shared, 0, Math.floor(shared.byteLength / 4));
    this.#float64 = new Float64Array(shared, 0, Math.floor(shared.byteLength / 8));
    this.count = this.#int32[header.count]!;
    this.id = this.#float64[2]!;
    this.#offsets = new Uint32Array(shared, offsetsAt, this.count + 1);
    this.#bytes = Buffer.from(shared);
  }

  /** Claims the first pending query that is admitted. Returns its index, or -1 if there is none. */
  claim(worker: number, admitted = Atomics.load(this.#int32, header.admitted)): number {
    // Every query below `scanStart` is claimed, or was given back and will be found by the parent. If `scanStart` is too low, the
    // search takes a few steps more. No claim is lost if the thread dies between two of these lines.
    for (let index = Atomics.load(this.#int32, header.scanStart); index < admitted; index++) {
      if (Atomics.compareExchange(this.#int32, this.#stateAt(index), pending, worker) === pending) {
        Atomics.store(this.#int32, header.scanStart, index + 1);
        this.#float64[this.#timesAt(index)] = Date.now();
        return index;
      }
    }
    if (admitted === this.count) Atomics.store(this.#int32, header.scanStart, this.count);
    return -1;
  }

  /** Claims the first pending query, admitted or not. */
  claimAny(worker: number): number {
    return this.claim(worker, this.count);
  }

  /** Lets the workers claim the first `count` queries. */
  admit(count: number): void {
    Atomics.store(this.#int32, header.admitted, count);
  }

  /** Index at which the search for a pending query begins. Below it, only `unclaim()` makes a query pending again. */
  get scanStart(): number {
    return Atomics.load(this.#int32, header.scanStart);
  }

  /** True if no query is left to claim. */
  get exhausted(): boolean {
    return Atomics.load(this.#int32, header.scanStart) >= this.count;
  }

  /** Number of bytes in use, from the beginning. */
  get usedBytes(): number {
    return this.#offsets[this.count]!;
  }

  /** Decodes the query or other unit of work. */
  unit(index: number): unknown {
    return decodeUnit(this.#bytes, this.#offsets[index]!, this.#offsets[index + 1]!);
  }

  /** Returns a view of the bytes of a text without values. It is valid until the query ends. */
  text(index: number): Buffer | undefined {
    return textIn(this.#bytes, this.#offsets[index]!, this.#offsets[index + 1]!);
  }

  /** Returns the query's 1-based position in the input. */
  seq(index: number): number {
    return this.#float64[this.#timesAt(index) + 3]!;
  }

  /** Returns the state for `outcomeOf()` and `claimerOf()`. */
  state(index: number): number {
    return Atomics.load(this.#int32, this.#stateAt(index));
  }

  /** Records the outcome of a query. This is the claimer's last write to the record. */
  end(index: number, outcome: Outcome, durationMs: number, rows: number, warnings = 0): void {
    const at = this.#timesAt(index);
    this.#float64[at + 1] = durationMs;
    this.#float64[at + 2] = rows;
    this.#float64[at + 4] = warnings;
    const claimer = this.#int32[this.#stateAt(index)]!;
    Atomics.store(this.#int32, this.#stateAt(index), -1 - outcomes.indexOf(outcome) - claimer * outcomes.length);
  }

  /** Gives back a query whose claimer died or gave up. It can be claimed again after the next `rewind()`. */
  unclaim(index: number, mayHaveRun: boolean): void {
    const at = this.#stateAt(index) + 1;
    this.#int32[at] = (this.#int32[at]! % mayHaveRunFlag) + (mayHaveRun ? mayHaveRunFlag : 0);
    this.markAwaitingCommit(index, 0);
    Atomics.store(this.#int32, this.#stateAt(index), pending);
  }

  /** Makes claims search from the first query again. */
  rewind(): void {
    Atomics.store(this.#int32, header.scanStart, 0);
  }

  /** Marks a query as answered in a transaction that is still open. A duration of 0 removes the mark. */
  markAwaitingCommit(index: number, durationMs: number): void {
    this.#float64[this.#timesAt(index) + 1] = durationMs;
  }

  /** Marks that rows of a query are being delivered. */
  noteRows(index: number): void {
    this.#float64[this.#timesAt(index) + 2] = 1;
  }

  /** Counts one more sending of a query to the server. -1 takes one back. */
  addTry(index: number, by = 1): void {
    this.#int32[this.#stateAt(index) + 1]! += by;
  }

  /** Returns true if an earlier claimer of the query may have run it. */
  mayHaveRun(index: number): boolean {
    return this.#int32[this.#stateAt(index) + 1]! >= mayHaveRunFlag;
  }

  record(index: number): { tries: number; start: number; durationMs: number; rows: number; warnings: number } {
    const at = this.#timesAt(index);
    return {
      tries: this.#int32[this.#stateAt(index) + 1]! % mayHaveRunFlag,
      start: this.#float64[at]!,
      durationMs: this.#float64[at + 1]!,
      rows: this.#float64[at + 2]!,
      warnings: this.#float64[at + 4]!,
    };
  }

  #stateAt(index: number): number {
    return (headerBytes + index * recordBytes) / 4;
  }

  #timesAt(index: number): number {
    return (headerBytes + index * recordBytes) / 8 + 1;
  }
}
