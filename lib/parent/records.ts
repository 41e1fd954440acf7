/** Keeps the released segments, and reads the outcomes of their queries from the records in shared memory. */
import { type Counters, type Ended, Tally } from "../shared/counters.ts";
import type { PlainError } from "../shared/messages.ts";
import { claimerOf, type Outcome, outcomeOf, type Segment } from "../shared/segment.ts";
import { describeFailure } from "./failure.ts";
import type { Thread } from "./pool.ts";

interface Live {
  readonly segment: Segment;
  /** Queries that were released before this segment. */
  readonly before: number;
  readonly collected: Uint8Array;
  /** Queries that are not collected yet. */
  left: number;
  /** Threads that may still read the segment. The value is how often the segment was sent to that thread. */
  readonly references: Map<Thread, number>;
}

/** A query that a worker has claimed and not ended. */
export interface Claimed {
  readonly segment: Segment;
  readonly index: number;
  readonly worker: number;
}

/** Most segments whose memory is kept for reuse. */
const sparesKept = 4;
/** Most bytes of a segment whose memory is kept. Few are larger. */
const spareBytes = 1 << 21;
/** Most tries of a query that runs again after its thread died. The query itself may be what kills the threads. */
const deathsSurvived = 2;

export class Records {
  readonly tally = new Tally();
  readonly #counters: Counters;
  readonly #onEnded: (ended: Ended, unit: () => unknown) => void;
  readonly #errors = new Map<number, PlainError>(); // by seq, until the query's record is read
  readonly #spares: SharedArrayBuffer[] = [];
  #live: Live[] = [];
  #released = 0;

  /** @param onEnded is called with each query that has ended, and with a function that decodes it. */
  constructor(counters: Counters, onEnded: (ended: Ended, unit: () => unknown) => void) {
    this.#counters = counters;
    this.#onEnded = onEnded;
  }

  /** Number of released queries. */
  get released(): number {
    return this.#released;
  }

  /** True if only queries in transactions that are still open have not ended. */
  get isDrained(): boolean {
    return this.#live.reduce((sum, { left }) => sum + left, 0) === this.awaitingCommit;
  }

  /** Number of queries that were answered in a transaction that is still open. Its end decides their outcome. */
  get awaitingCommit(): number {
    let count = 0;
    for (const { outcome, segment, index } of this.#claimed()) {
      if (outcome === undefined && segment.record(index).durationMs > 0) count++;
    }
    return count;
  }

  /** Segments with unclaimed queries. */
  get open(): Segment[] {
    return this.#live.filter(({ segment }) => !segment.exhausted).map(({ segment }) => segment);
  }

  add(segment: Segment): void {
    const { count } = segment;
    const collected = new Uint8Array(count);
    this.#live.push({ segment, before: this.#released, collected, left: count, references: new Map() });
    this.#released += count;
  }

  /** Sends a segment to a thread. */
  announce(segment: Segment, thread: Thread): void {
    const { references } = this.#live.find((live) => live.segment === segment)!;
    references.set(thread, (references.get(thread) ?? 0) + 1);
    thread.send({ type: "segment", shared: segment.shared });
  }

  /** Notes that a thread has left the segment with this id. */
  leave(id: number, thread: Thread): void {
    const { references } = this.#live.find(({ segment }) => segment.id === id)!;
    const times = references.get(thread)! - 1;
    if (times > 0) references.set(thread, times);
    else references.delete(thread);
    this.#prune();
  }

  /** Returns memory of a segment that nobody uses any more. Reuse keeps memory low, because the runtime frees it late. */
  takeSpare(): SharedArrayBuffer | undefined {
    return this.#spares.pop();
  }

  /** Returns the seq of the `count`-th released query while its segment is live. */
  seqAt(count: number): number | undefined {
    const live = this.#live.find(({ before, segment }) => count <= before + segment.count);
    return live && count > live.before ? live.segment.seq(count - live.before - 1) : undefined;
  }

  /** Lets the workers claim the first `count` released queries. */
  admit(count: number): void {
    for (const { segment, before } of this.#live) segment.admit(Math.min(Math.max(0, count - before), segment.count));
  }

  /** Counts a query that an earlier run has ended. */
  addEarlier(outcome: Exclude<Outcome, "skipped">): void {
    this.tally.addEarlier(outcome);
    this.#counters.add(0, outcome);
  }

  /** Stores the error of a query that failed or is unknown. */
  setError(seq: number, error: PlainError): void {
    this.#errors.set(seq, error);
  }

  /**
   * Collects the queries that have ended since the last call.
   *
   * @returns segments to announce again, because a query in them was given back and can be claimed anew.
   */
  collect(): Segment[] {
    const again: Segment[] = [];
    for (const live of this.#live) {
      const { segment, collected } = live;
      if (live.left === 0) continue;
      const { scanStart } = segment; // read before the states: a pending query below it was given back, and no claim looks there
      let isPassed = false;
      for (let index = 0; index < segment.count; index++) {
        if (collected[index]) continue;
        const state = segment.state(index);
        if (state === 0 && index < scanStart) isPassed = true;
        const outcome = outcomeOf(state);
        if (outcome === undefined || !this.#take(segment, index, outcome)) continue;
        collected[index] = 1;
        live.left--;
      }
      if (!isPassed) continue;
      segment.rewind();
      again.push(segment);
    }
    this.#prune();
    return again;
  }

  /** Yields the query that each worker is running. */
  *inFlight(): Generator<Claimed> {
    for (const { outcome, ...claimed } of this.#claimed()) {
      const isAwaitingCommit = claimed.segment.record(claimed.index).durationMs > 0; // its transaction is open
      if (outcome === undefined && !isAwaitingCommit) yield claimed;
    }
  }

  /**
   * Decides about the queries of a dead thread. A query in flight that can run again can be claimed anew, any other is `unknown`.
   * A query does not run again if some of its rows were delivered, because these would come twice. A query that ended with an
   * error gets the error `THREAD_DIED` if the thread could not send its own.
   */
  resolveDeadThread(thread: Thread, cause: string, canRunAgain: (unit: unknown) => boolean): void {
    const error = { code: "THREAD_DIED", message: `Its thread died: ${cause}` };
    for (const { references } of this.#live) references.delete(thread);
    this.#prune();
    for (const { segment, index, worker, outcome } of this.#claimed()) {
      if (!thread.workers.includes(worker)) continue;
      const { tries, rows, start } = segment.record(index);
      // All of the thread's messages have arrived by now: what is missing will not come.
      if (outcome && (!hasCause(outcome) || this.#errors.has(segment.seq(index)))) continue;
      if (!outcome && tries <= deathsSurvived && rows === 0 && canRunAgain(segment.unit(index))) {
        segment.unclaim(index, true);
        continue;
      }
      this.setError(segment.seq(index), error);
      if (!outcome) this.#endUnknown(segment, index, Date.now() - start);
    }
  }

  /**
   * Ends every query that no worker has claimed as `skipped`, or as `unknown` if it may have run.
   *
   * @param claimer a number that no worker has.
   * @param unreleased queries that no worker has seen.
   */
  skipRest(claimer: number, unreleased?: Segment): void {
    if (unreleased) this.add(unreleased);
    const message = "It may have run: its thread or its connection was lost, and the run ends";
    for (const { segment } of this.#live) {
      segment.rewind();
      for (let index = segment.claimAny(claimer); index >= 0; index = segment.claimAny(claimer)) {
        if (segment.mayHaveRun(index)) {
          this.setError(segment.seq(index), { code: "RUN_ENDED", message });
          this.#endUnknown(segment, index, 0);
        } else segment.end(index, "skipped", 0, 0);
      }
    }
  }

  #endUnknown(segment: Segment, index: number, durationMs: number): void {
    segment.end(index, "unknown", durationMs, 0);
    this.#counters.add(0, "unknown");
  }

  /** Reads the record of a query that has ended. Returns false while the message with its error is on its way. */
  #take(segment: Segment, index: number, outcome: Outcome): boolean {
    const seq = segment.seq(index);
    const error = this.#errors.get(seq);
    if (!error && hasCause(outcome)) return false;
    this.#errors.delete(seq);
    const failure = error && describeFailure(segment.unit(index), error);
    const ended = { seq, outcome, ...segment.record(index), failure };
    this.tally.add(ended);
    this.#onEnded(ended, () => segment.unit(index));
    return true;
  }

  *#claimed(): Generator<Claimed & { outcome: Outcome | undefined }> {
    for (const { segment, left, collected } of this.#live) {
      for (let index = 0; left > 0 && index < segment.count; index++) {
        const state = segment.state(index);
        if (state === 0 || collected[index]) continue;
        yield { segment, index, worker: claimerOf(state), outcome: outcomeOf(state) };
      }
    }
  }

  #prune(): void {
    this.#live = this.#live.filter(({ segment, left, references }) => {
      if (left > 0 || references.size > 0) return true;
      if (this.#spares.length < sparesKept && segment.shared.byteLength <= spareBytes)
        this.#spares.push(segment.shared);
      return false;
    });
  }
}

/** Returns true if a message with an error belongs to the outcome. */
function hasCause(outcome: Outcome): boolean {
  return outcome === "failed" || outcome === "unknown";
}
