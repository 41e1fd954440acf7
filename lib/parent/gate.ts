/** How many of the released queries the workers may claim: what the gates decide. */
import type { Segment } from "../shared/segment.ts";
import type { Gate } from "./options.ts";
import type { Records } from "./records.ts";

export class Gatekeeper {
  readonly #gates: readonly Gate[];
  readonly #records: Records;
  readonly #workers: number;
  #admitted = 0;
  /** How many the gates have been told of. */
  #announced = 0;
  #waiting = false;
  #isOpen = true;
  /** When the pause has begun, if there is one. */
  #pausedAt: number | undefined;

  /** @param workers how many there are at the start. */
  constructor(gates: readonly Gate[], records: Records, workers: number) {
    this.#gates = gates;
    this.#records = records;
    this.#workers = workers;
  }

  /** Why queries are held back just now. */
  get reason(): string | undefined {
    return this.#gates.find((gate) => gate.reason !== undefined)?.reason;
  }

  /** Returns why the run is to end, once it has paused for longer than so many seconds and there are queries left to claim. */
  pausedTooLong(mostSeconds: number): string | undefined {
    const { reason } = this;
    this.#pausedAt = reason === undefined ? undefined : (this.#pausedAt ?? performance.now());
    if (this.#pausedAt === undefined || performance.now() - this.#pausedAt <= mostSeconds * 1000) return undefined;
    if (this.#records.open.length > 0)
      return `paused for longer than ${mostSeconds} s: ${reason!.replace(/^paused:? /, "")}`;
    this.#pausedAt = undefined;
    return undefined;
  }

  /** How many workers may claim a query. */
  get workers(): number {
    const wanted = this.#gates.flatMap(({ workers }) => workers ?? []);
    return wanted.length === 0 ? this.#workers : Math.min(...wanted);
  }

  /** Whether no gate held anything back when they were last asked: then they need not be asked often. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Takes note of a segment that is released; without gates, all of it can be claimed at once. */
  release(segment: Segment): void {
    this.#records.add(segment);
    if (this.#gates.length === 0) segment.admit(segment.count);
  }

  /**
   * Lets the workers claim as many queries as the gates allow when so many of them have ended. When that is fewer than before,
   * what nobody has claimed yet is taken back.
   *
   * @returns whether they can claim more than before.
   * @throws what a gate's `admitted()` rejects with.
   */
  async advance(ended: () => number, isOver: () => boolean): Promise<boolean> {
    if (this.#gates.length === 0 || isOver()) return false;
    let count = this.#allowed(ended());
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
      count = Math.min(count, this.#allowed(ended())); // a gate may have closed meanwhile
    }
    const before = this.#admitted;
    if (count === before) return false;
    this.#admitted = count;
    this.#records.admit(count);
    return count > before;
  }

  /** How many of the released queries the gates allow to be claimed when so many have ended. */
  #allowed(ended: number): number {
    const { workers } = this;
    const limit = Math.min(...this.#gates.map((gate) => Math.floor(gate.limit(ended, workers))));
    this.#isOpen = limit === Number.POSITIVE_INFINITY;
    return Math.min(this.#records.released, limit);
  }
}
