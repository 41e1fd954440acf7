/** The parent's reading of the records: the segments that were released to the workers and have not wholly ended. */
import { claimerOf, type Outcome, outcomeOf, type Segment } from "./queue.ts";

interface Live<Thread> {
  readonly segment: Segment;
  /** Queries that were released before this segment. */
  readonly before: number;
  readonly collected: Uint8Array;
  /** Queries that are not collected yet. */
  left: number;
  /** Threads that may still look into the segment, each as often as it was announced to it. */
  readonly holders: Map<Thread, number>;
}

/** Segments whose memory is kept to be used again. */
const sparesKept = 4;
/** Of larger ones it is not kept: few are. */
const spareBytes = 1 << 21;

export class Backlog<Thread> {
  #live: Live<Thread>[] = [];
  readonly #spares: SharedArrayBuffer[] = [];
  #released = 0;

  add(segment: Segment): void {
    const { count } = segment;
    this.#live.push({
      segment,
      before: this.#released,
      collected: new Uint8Array(count),
      left: count,
      holders: new Map(),
    });
    this.#released += count;
  }

  /** How many queries were released. */
  get released(): number {
    return this.#released;
  }

  /** The seq of the last of the first `count` queries that were released, while its segment is live. */
  seqAt(count: number): number | undefined {
    const live = this.#live.find(({ before, segment }) => count <= before + segment.count);
    return live && count > live.before ? live.segment.seq(count - live.before - 1) : undefined;
  }

  /** Lets the workers claim the first `count` queries that were released. */
  admit(count: number): void {
    for (const { segment, before } of this.#live) segment.admit(Math.min(Math.max(0, count - before), segment.count));
  }

  /** Notes that a segment is announced to a thread. */
  hold(segment: Segment, thread: Thread): void {
    const { holders } = this.#live.find((live) => live.segment === segment)!;
    holders.set(thread, (holders.get(thread) ?? 0) + 1);
  }

  /** Notes that a thread has left the segment with this id. */
  leave(id: number, thread: Thread): void {
    const { holders } = this.#live.find(({ segment }) => segment.id === id)!;
    const times = holders.get(thread)! - 1;
    if (times > 0) holders.set(thread, times);
    else holders.delete(thread);
    this.#prune();
  }

  /** Notes that a thread is gone. */
  forget(thread: Thread): void {
    for (const { holders } of this.#live) holders.delete(thread);
    this.#prune();
  }

  /** Memory of a segment that nobody uses any more, to be used again: freed memory is given back late. */
  takeSpare(): SharedArrayBuffer | undefined {
    return this.#spares.pop();
  }

  /** Whether every query of every released segment was collected. */
  get empty(): boolean {
    return this.#live.every(({ left }) => left === 0);
  }

  /** The segments that have queries left to claim. */
  get open(): Segment[] {
    return this.#live.filter(({ segment }) => !segment.exhausted).map(({ segment }) => segment);
  }

  /**
   * Visits each query that has ended and was not collected before; one that `visit` returns false for comes again.
   *
   * @returns segments to be announced again: a query that was claimed by a thread that is gone can be claimed anew.
   */
  collect(visit: (segment: Segment, index: number, outcome: Outcome) => boolean): Segment[] {
    const again: Segment[] = [];
    for (const live of this.#live) {
      const { segment, collected } = live;
      if (live.left === 0) continue;
      const { hint } = segment; // read before the states: then a pending one below it was passed by
      let passed = false;
      for (let index = 0; index < segment.count; index++) {
        if (collected[index]) continue;
        const state = segment.state(index);
        if (state === 0 && index < hint) passed = true;
        const outcome = outcomeOf(state);
        if (outcome === undefined || !visit(segment, index, outcome)) continue;
        collected[index] = 1;
        live.left--;
      }
      if (!passed) continue;
      segment.rewind();
      again.push(segment);
    }
    this.#prune();
    return again;
  }

  /** Visits each query that a worker has claimed and that was not collected; `outcome` is there when it has ended. */
  *claimed(): Generator<{ segment: Segment; index: number; worker: number; outcome: Outcome | undefined }> {
    for (const { segment, left, collected } of this.#live) {
      for (let index = 0; left > 0 && index < segment.count; index++) {
        const state = segment.state(index);
        if (state !== 0 && !collected[index])
          yield { segment, index, worker: claimerOf(state), outcome: outcomeOf(state) };
      }
    }
  }

  /**
   * Ends every query that no worker has claimed, as `skipped` or, when it may have run, as `unknown`.
   *
   * @param claimer a number that no worker has.
   * @param onUnknown is told the seq of each that is unknown.
   */
  skipRest(claimer: number, onUnknown: (seq: number) => void): void {
    for (const { segment } of this.#live) {
      segment.rewind();
      for (let index = segment.claimAny(claimer); index >= 0; index = segment.claimAny(claimer)) {
        const mayHaveRun = segment.mayHaveRun(index);
        if (mayHaveRun) onUnknown(segment.seq(index));
        segment.end(index, mayHaveRun ? "unknown" : "skipped", 0, 0);
      }
    }
  }

  #prune(): void {
    this.#live = this.#live.filter(({ segment, left, holders }) => {
      if (left > 0 || holders.size > 0) return true;
      if (this.#spares.length < sparesKept && segment.shared.byteLength <= spareBytes)
        this.#spares.push(segment.shared);
      return false;
    });
  }
}
