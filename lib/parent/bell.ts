/** Wakes the parent's loop: at the latest after so many milliseconds, at once when something has happened. */
export class Bell {
  #wake = () => {};
  #isRung = false;
  #soon: NodeJS.Immediate | undefined;

  /** Wakes the loop before this thread does anything else: the source may keep it busy for the rest of the turn. */
  ring = (): void => {
    this.#isRung = true;
    this.#wake();
  };

  /** Wakes it once for all that comes in this turn: thousands of queries may fail at a time. */
  ringSoon(): void {
    this.#soon ??= setImmediate(this.ring);
  }

  /** Resolves when the bell was rung since the last time, or when the time is up. */
  async wait(ms: number): Promise<void> {
    if (!this.#isRung) {
      const timer = setTimeout(this.ring, ms);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      clearTimeout(timer);
    }
    clearImmediate(this.#soon);
    this.#soon = undefined;
    this.#isRung = false;
  }
}
