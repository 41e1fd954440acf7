/** A claimed query, from its claim to its outcome. */
import type { Outcome, Segment } from "../shared/segment.ts";

export class Job {
  readonly unit: unknown;
  readonly seq: number;
  /** How often it was sent. */
  tries = 0;
  /** Rows that are on their way to the parent: another try would give them twice. */
  rows = 0;
  /** It was sent, by this worker or an earlier one, and nobody knows whether it has run. */
  mayHaveRun: boolean;
  /** What its last try met. */
  error: unknown;
  readonly #segment: Segment;
  readonly #index: number;
  readonly #start = performance.now();

  constructor(segment: Segment, index: number) {
    this.#segment = segment;
    this.#index = index;
    this.unit = segment.unit(index);
    this.seq = segment.seq(index);
    this.mayHaveRun = segment.mayHaveRun(index);
  }

  addTry(): void {
    this.tries++;
    this.#segment.addTry(this.#index);
  }

  noteRows(): void {
    this.#segment.noteRows(this.#index);
  }

  /** Writes the outcome into the record: nothing else is done for the query after that. */
  end(outcome: Outcome, rows: number): void {
    this.#segment.end(this.#index, outcome, performance.now() - this.#start, rows);
  }

  /** Gives it back: another worker may take it. */
  reopen(): void {
    this.#segment.reopen(this.#index, this.mayHaveRun);
  }
}
