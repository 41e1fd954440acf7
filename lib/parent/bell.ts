/** Lets the parent's loop sleep between two rounds, and wakes it when there is news. */
export class Bell {
  #wake = () => {};
  #isRung = false;
  #soon: NodeJS.Immediate | undefined;

  /** Wakes the loop in a microtask. Otherwise the source could keep this thread busy for the rest of the turn first. */
  ring = (): void => {
    this.#isRung = true;
    this.#wake();
  };

  /** Wakes the loop once, after this turn of the event loop. Thousands of queries may fail in one turn. */
  ringSoon(): void {
    this.#soon ??= setImmediate(this.ring);
  }

  /** Resolves at the next `ring()`, at once if there was one since the last `wait()`, and after `ms` at the latest. */
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
