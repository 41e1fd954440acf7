/** States and hashes of the queries in a job log, in little memory. */
import type { Outcome } from "../../shared/segment.ts";

/** Outcomes of the states 1 to 4. 0 means no outcome. `released` is added to a state. */
const outcomes: readonly string[] = ["done", "failed", "unknown", "skipped"] satisfies Outcome[];
const released = 8;

const mayHaveRun: ReadonlySet<string> = new Set(["done", "unknown"] satisfies Outcome[]);

const pageLength = 1 << 16;

/** State and hash of each query that the log has a line about, in 9 bytes. The id of a query is its seq, or is made for its key. */
export class LoggedQueries {
  readonly #pages = new Map<number, { states: Uint8Array; hashes: BigUint64Array }>();
  readonly #ids = new Map<string, number>();

  /** Returns the id of a key, undefined if there is none. */
  idOf(key: string): number | undefined {
    return this.#ids.get(key);
  }

  /** Returns the id of a key, a new one if there is none. */
  idFor(key: string): number {
    const id = this.#ids.get(key) ?? this.#ids.size + 1;
    this.#ids.set(key, id);
    return id;
  }

  /** Highest id of a query that is done, or that may have run. */
  get last(): number {
    for (const [number, { states }] of [...this.#pages].toSorted(([a], [b]) => b - a)) {
      const at = states.findLastIndex(
        (state) => mayHaveRun.has(outcomes[(state % released) - 1]!) || state >= released,
      );
      if (at >= 0) return number * pageLength + at;
    }
    return 0;
  }

  has(seq: number): boolean {
    return this.#state(seq) > 0;
  }

  /** Returns true if the query is the one in the log. */
  matches(seq: number, hash: string): boolean {
    return this.#pages.get(Math.floor(seq / pageLength))?.hashes[seq % pageLength] === BigInt(`0x${hash}`);
  }

  /** Returns the outcome of the query, undefined if it has none. */
  outcome(seq: number): Outcome | undefined {
    return outcomes[(this.#state(seq) % released) - 1] as Outcome | undefined;
  }

  /** Returns true if the query was released after that outcome, and has not ended since. */
  isReleased(seq: number): boolean {
    return this.#state(seq) >= released;
  }

  /** Adds a line. Returns false if its outcome is unknown to this version. */
  note(seq: number, outcome: string, hash: string): boolean {
    const before = this.#state(seq);
    const state = outcomes.indexOf(outcome) + 1;
    if (outcome === "released" || outcome === "reopened") this.#set(seq, before | released, hash);
    else if (outcome === "skipped" && before >= released) this.#set(seq, before - released, hash);
    else if (state > 0) this.#set(seq, state, hash);
    else return false;
    return true;
  }

  #state(seq: number): number {
    return this.#pages.get(Math.floor(seq / pageLength))?.states[seq % pageLength] ?? 0;
  }

  #set(seq: number, state: number, hash: string): void {
    const number = Math.floor(seq / pageLength);
    let page = this.#pages.get(number);
    if (!page) {
      page = { states: new Uint8Array(pageLength), hashes: new BigUint64Array(pageLength) };
      this.#pages.set(number, page);
    }
    page.states[seq % pageLength] = state;
    page.hashes[seq % pageLength] = BigInt(`0x${hash}`);
  }
}
