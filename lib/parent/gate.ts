/** Limits how many of the released queries the workers may claim, as the gates decide. */
import type { Segment } from "../shared/segment.ts";
import type { Gate } from "./options.ts";
import type { Records } from "./records.ts";

export class Gatekeeper {
  /** True if no gate had a limit when they were last asked. They need not be asked often then. */
  isOpen = true;
  readonly #gates: readonly Gate[];
  readonly #records: Records;
  readonly #workers: number;
  #admitted = 0;
  /** The number of queries that `admitted()` of every gate has accepted. */
  #announced = 0;
  #waiting = false;
  /** Start of the current pause, as `performance.now()`. Undefined if there is none. */
  #pausedAt: number | undefined;

  /** @param workers number of workers at the start. */
  constructor(gates: readonly Gate[], records: Records, workers: number) {
    this.#gates = gates;
    this.#records = records;
    this.#workers = workers;
  }

  /** Reason of the first gate that holds queries back now. */
  get reason(): string | undefined {
    return this.#gates.find((gate) => gate.reason !== undefined)?.reason;
  }

  /** Returns the reason to end the run, if it has paused for more than `mostSeconds` and unclaimed queries are left. */
  pausedTooLong(mostSeconds: number): string | undefined {
    const { reason } = this;
    this.#pausedAt = reason === undefined ? undefined : (this.#pausedAt ?? performance.now());
    if (this.#pausedAt === undefined || performance.now() - this.#pausedAt <= mostSeconds * 1000) return undefined;
    if (this.#records.open.length > 0)
      return `paused for longer than ${mostSeconds} s: ${reason!.replace(/^paused:? /, "")}`;
    this.#pausedAt = undefined;
    return undefined;
  }

  /** Number of workers that may claim a query. */
  get workers(): number {
    const wanted = this.#gates.flatMap(({ workers }) => workers ?? []);
    return wanted.length === 0 ? this.#workers : Math.min(...wanted);
  }

  /** Adds a released segment. Without gates, all of it can be claimed at once. */
  release(segment: Segment): void {
    this.#records.add(segment);
    if (this.#gates.length === 0) segment.admit(segment.count);
  }

  /**
   * Lets the workers claim as many queries as the gates allow. If that is fewer than before, queries that nobody has claimed yet
   * can no longer be claimed.
   *
   * @returns true if the workers can claim more than before.
   * @throws the error that a gate's `admitted()` rejects with.
   */
  async advance(isOver: () => boolean): Promise<boolean> {
    if (this.#gates.length === 0 || isOver()) return false;
    let count = this.#allowed();
    if (count > this.#announced) {
      if (this.#waiting) return false;
      this.#waiting = true;
      try {
        const seq = this.#records.seqAt(count)!;
        await Promise.all(this.#gates.map((gate) => gate.admitted?.(seq)));
      } finally {
        this.#waiting = false;
      }
      if (isOver()) return false;
      this.#announced = count;
      count = Math.min(count, this.#allowed()); // a gate may have closed meanwhile
    }
    const before = this.#admitted;
    if (count === before) return false;
    this.#admitted = count;
    this.#records.admit(count);
    return count > before;
  }

  /** Returns how many of the released queries the gates let the workers claim. */
  #allowed(): number {
    const { workers } = this;
    const ended = this.#records.tally.ended + this.#records.awaitingCommit;
    const limit = Math.min(...this.#gates.map((gate) => Math.floor(gate.limit(ended, workers))));
    this.isOpen = limit === Number.POSITIVE_INFINITY;
    return Math.min(this.#records.released, limit);
  }
}
