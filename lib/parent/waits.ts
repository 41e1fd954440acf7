/** Measures how long a run has waited for a server, by reason. */
import { count } from "./text.ts";

/** Most reasons that are kept. The time of further ones is not counted. */
const reasonsKept = 10;
/** Most characters of a reason in the bar. */
const reasonLength = 60;

export class Waits {
  readonly #waiting = new Set<unknown>();
  readonly #secondsOf = new Map<string, number>();
  #since = 0;
  #reason = "";

  /** Notes that a worker, or something else, waits for a server. The reason of the first one counts until nobody waits. */
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

  /** Returns the text for the bar: number of waiting workers, seconds and reason. */
  describe(workers: number): string | undefined {
    const { size } = this.#waiting;
    if (size === 0) return undefined;
    const reason = this.#reason.length > reasonLength ? `${this.#reason.slice(0, reasonLength)}…` : this.#reason;
    const who = size < workers ? `${count(size)} of ${count(workers)} workers ` : "";
    return `${who}waiting for ${count(Math.round(this.#seconds))} s: ${reason}`;
  }

  /** The reasons, each with its time in all. */
  get ended() {
    return [...this.#secondsOf].map(([reason, seconds]) => ({ seconds: Math.round(seconds * 1000) / 1000, reason }));
  }

  get #seconds(): number {
    return (performance.now() - this.#since) / 1000;
  }
}
