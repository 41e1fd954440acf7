/** A claimed query, from its claim to its outcome. */
import { filled } from "../mysql/filled.ts";
import { canShare } from "../mysql/statement.ts";
import { type Query, sqlOf, valuesOf } from "../shared/query.ts";
import type { Outcome, Segment } from "../shared/segment.ts";

export class Job {
  readonly seq: number;
  /** How often it was sent. */
  tries = 0;
  /** Rows that are on their way to the parent: another try would give them twice. */
  rows = 0;
  /** What the server has warned of, when it has answered. */
  warnings = 0;
  /** It was sent, by this worker or an earlier one, and nobody knows whether it has run. */
  mayHaveRun: boolean;
  /** True if its row in a ledger may be of this run: a `COMMIT` of it was sent and not answered. */
  mayBeRecorded: boolean;
  /** It must not be one of several in a round trip. */
  goesAlone = false;
  /** What its last try met. */
  error: unknown;
  readonly #segment: Segment;
  readonly #index: number;
  readonly #start = performance.now();
  readonly #bytes: Buffer | undefined;
  #text: string | undefined;
  #part: Uint8Array | false | undefined;
  #durationMs: number | undefined;

  constructor(segment: Segment, index: number) {
    this.#segment = segment;
    this.#index = index;
    this.seq = segment.seq(index);
    this.mayHaveRun = segment.mayHaveRun(index);
    this.mayBeRecorded = this.mayHaveRun;
    this.#bytes = segment.text(index);
  }

  /** The query, or whatever unit of work was put on the queue. */
  get unit(): unknown {
    return this.#segment.unit(this.#index);
  }

  /** The query as it is sent: text without values as its bytes, where they stand. */
  get query(): Query {
    return this.#bytes ? { sql: this.#bytes } : (this.unit as Query);
  }

  /** The bytes of a text without values. */
  get bytes(): Buffer | undefined {
    return this.#bytes;
  }

  /**
   * Whether it can be one of several in a round trip: what was tried already goes alone.
   *
   * @param withValues whether its values, if it has some, may be put into the text.
   */
  canBatch(withValues: boolean): boolean {
    return this.tries === 0 && !this.goesAlone && (withValues || this.#bytes !== undefined) && this.part !== undefined;
  }

  /** What is sent of it when it is one of several. */
  get part(): Uint8Array | undefined {
    if (this.#part === undefined) this.#part = this.#bytes ? canShare(this.text) && this.#bytes : this.#filled();
    return this.#part || undefined;
  }

  /** The SQL text, to be looked at. */
  get text(): string {
    this.#text ??= this.#bytes?.toString("latin1") ?? sqlOf(this.unit);
    return this.#text;
  }

  addTry(): void {
    this.tries++;
    this.#segment.addTry(this.#index);
  }

  /** Counts the last try no more: there was no server that could have run it. */
  takeBackTry(): void {
    this.tries--;
    this.#segment.addTry(this.#index, -1);
  }

  noteRows(): void {
    this.#segment.noteRows(this.#index);
  }

  /** Notes that the server has answered, though a transaction that is open will decide. */
  noteAnswered(): void {
    this.#durationMs = performance.now() - this.#start;
    this.#segment.noteAnswered(this.#index, this.#durationMs);
  }

  /** Writes the outcome into the record: nothing else is done for the query after that. */
  end(outcome: Outcome, rows: number): void {
    this.#segment.end(
      this.#index,
      outcome,
      this.#durationMs ?? performance.now() - this.#start,
      rows,
      outcome === "done" ? this.warnings : 0,
    );
  }

  /** Gives it back: another worker may take it. */
  reopen(): void {
    this.#segment.reopen(this.#index, this.mayHaveRun);
  }

  #filled(): Uint8Array | false {
    const { unit } = this;
    const { sql, values } = unit as Exclude<Query, string>;
    if (typeof sql !== "string" || values === undefined) return false;
    try {
      const text = filled(sql, valuesOf(unit as Exclude<Query, string>));
      return text !== undefined && Buffer.from(text);
    } catch {
      return false; // it goes alone, and is refused
    }
  }
}
