/** Lets the parent's loop sleep between two rounds, and wakes it when there is news. */
export class Wakeup {
  #resolve = () => {};
  #isWoken = false;
  #soon: NodeJS.Immediate | undefined;

  /** Wakes the loop in a microtask. Otherwise the source could keep this thread busy for the rest of the turn first. */
  wake = (): void => {
    this.#isWoken = true;
    this.#resolve();
  };

  /** Wakes the loop once, after this turn of the event loop. Thousands of queries may fail in one turn. */
  wakeNextTurn(): void {
    this.#soon ??= setImmediate(this.wake);
  }

  /** Resolves at the next `wake()`, at once if there was one since the last `wait()`, and after `ms` at the latest. */
  async wait(ms: number): Promise<void> {
    if (!this.#isWoken) {
      const timer = setTimeout(this.wake, ms);
      await new Promise<void>((resolve) => {
        this.#resolve = resolve;
      });
      clearTimeout(timer);
    }
    clearImmediate(this.#soon);
    this.#soon = undefined;
    this.#isWoken = false;
  }
}
