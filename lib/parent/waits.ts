/** How long a run has waited for a server, and for what. */
import { count } from "./progress.ts";

/** A reason to wait, and how long that took in all. */
export interface Wait {
  seconds: number;
  reason: string;
}

/** Reasons that are told apart. */
const reasonsKept = 10;
/** Characters of a reason beside the bar. */
const reasonLength = 60;

export class Waits {
  readonly #waiting = new Set<unknown>();
  readonly #secondsOf = new Map<string, number>();
  #since = 0;
  #reason = "";

  /** Notes that somebody waits: a worker, or what else needs a server. The first one's reason counts until nobody does. */
  begin(who: unknown, reason: string): void {
    if (this.#waiting.size === 0) {
      this.#since = performance.now();
      this.#reason = reason;
    }
    this.#waiting.add(who);
  }

  end(who: unknown): void {
    if (!this.#waiting.delete(who) || this.#waiting.size > 0) return;
    const before = this.#secondsOf.get(this.#reason);
    if (before === undefined && this.#secondsOf.size >= reasonsKept) return;
    this.#secondsOf.set(this.#reason, (before ?? 0) + this.#seconds);
  }

  /** For the bar: how many of the workers are waiting, how long somebody has been, and for what. */
  describe(workers: number): string | undefined {
    const { size } = this.#waiting;
    if (size === 0) return undefined;
    const reason = this.#reason.length > reasonLength ? `${this.#reason.slice(0, reasonLength)}…` : this.#reason;
    const who = size < workers ? `${count(size)} of ${count(workers)} workers ` : "";
    return `${who}waiting for ${count(Math.round(this.#seconds))} s: ${reason}`;
  }

  get ended(): Wait[] {
    return [...this.#secondsOf].map(([reason, seconds]) => ({ seconds: Math.round(seconds * 1000) / 1000, reason }));
  }

  get #seconds(): number {
    return (performance.now() - this.#since) / 1000;
  }
}
