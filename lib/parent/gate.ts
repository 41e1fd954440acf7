/** How many of the released queries the workers may claim: what the gates decide. */

import type { Segment } from "../shared/segment.ts";
import type { Gate } from "./options.ts";
import type { Records } from "./records.ts";

export class Gatekeeper {
  readonly #gates: readonly Gate[];
  readonly #records: Records;
  #admitted = 0;
  /** How many the gates have been told of. */
  #announced = 0;
  #waiting = false;

  constructor(gates: readonly Gate[], records: Records) {
    this.#gates = gates;
    this.#records = records;
  }

  /** Why queries are held back just now. */
  get reason(): string | undefined {
    return this.#gates.find((gate) => gate.reason !== undefined)?.reason;
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
    if (this.#gates.length === 0 || this.#waiting || isOver()) return false;
    const now = ended();
    const count = Math.min(this.#records.released, ...this.#gates.map((gate) => Math.floor(gate.limit(now))));
    if (count > this.#announced) {
      this.#waiting = true;
      try {
        const seq = this.#records.seqAt(count)!;
        await Promise.all(this.#gates.map((gate) => gate.admitted?.(seq)));
      } finally {
        this.#waiting = false;
      }
      if (isOver()) return false;
      this.#announced = count;
    }
    const before = this.#admitted;
    if (count === before) return false;
    this.#admitted = count;
    this.#records.admit(count);
    return count > before;
  }
}
