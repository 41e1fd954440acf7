/** The parent's reading of the records: the segments that were released to the workers and have not wholly ended. */
import { type Outcome, outcomeOf, type Segment } from "./queue.ts";

interface Live<Thread> {
  readonly segment: Segment;
  readonly collected: Uint8Array;
  /** Queries that are not collected yet. */
  left: number;
  /** Threads that may still look into the segment. */
  readonly holders: Set<Thread>;
}

export class Backlog<Thread> {
  #live: Live<Thread>[] = [];
  #spare: SharedArrayBuffer | undefined;

  /** Adds a segment that is announced to these threads. */
  add(segment: Segment, holders: Iterable<Thread>): void {
    this.#live.push({
      segment,
      collected: new Uint8Array(segment.count),
      left: segment.count,
      holders: new Set(holders),
    });
  }

  /** Hears that a thread is done with the oldest segment that it holds. */
  leave(thread: Thread): void {
    this.#live.find(({ holders }) => holders.delete(thread));
    this.#prune();
  }

  /** Memory of a segment that nobody uses any more, to be used again: freed memory is given back late. */
  takeSpare(): SharedArrayBuffer | undefined {
    const spare = this.#spare;
    this.#spare = undefined;
    return spare;
  }

  /** Whether every query of every released segment was collected. */
  get empty(): boolean {
    return this.#live.every(({ left }) => left === 0);
  }

  /** How many segments have queries left to claim. */
  get ahead(): number {
    let ahead = 0;
    for (const { segment } of this.#live) if (!segment.exhausted) ahead++;
    return ahead;
  }

  /** Visits each query that has ended and was not collected before; one that `visit` returns false for comes again. */
  collect(visit: (segment: Segment, index: number, outcome: Outcome) => boolean): void {
    for (const live of this.#live) {
      const { segment, collected } = live;
      if (live.left === 0) continue;
      for (let index = 0; index < segment.count; index++) {
        if (collected[index]) continue;
        const outcome = outcomeOf(segment.state(index));
        if (outcome === undefined || !visit(segment, index, outcome)) continue;
        collected[index] = 1;
        live.left--;
      }
    }
    this.#prune();
  }

  /** Ends every query that no worker has claimed as `skipped`. `claimer` is a worker's number that no worker has. */
  skipRest(claimer: number): void {
    for (const { segment } of this.#live) {
      for (let index = segment.claim(claimer); index >= 0; index = segment.claim(claimer)) {
        segment.end(index, "skipped", 0, 0);
      }
    }
  }

  #prune(): void {
    this.#live = this.#live.filter(({ segment, left, holders }) => {
      if (left > 0 || holders.size > 0) return true;
      this.#spare = segment.shared;
      return false;
    });
  }
}
