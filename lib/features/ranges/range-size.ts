/** Adapts the rows of a range to the time of earlier queries, for `seconds` of `ranges()`. */
import { isInShard } from "../../parent/selection.ts";
import type { SourceContext, SourceListener } from "../../shared/source-context.ts";

/** Weight of the latest query in the moving average. */
const weight = 0.25;
/** Most times the rows of the query that ended last. */
const growth = 2;
/** Ranges per worker that have not ended: one is running, and one is ready. */
const aheadOfEach = 2;

export class RangeSize implements SourceListener {
  #rows: number;
  readonly #targetMs: number;
  readonly #context: SourceContext;
  /** Rows of the ranges that have not ended, by the seq of their query. */
  readonly #underWay = new Map<number, number>();
  #msPerRow: number | undefined;
  #wake = (): void => {};

  /** @param seconds target time of one query. */
  constructor(rows: number, seconds: number, context: SourceContext) {
    this.#rows = rows;
    this.#targetMs = seconds * 1000;
    this.#context = context;
    context.listen(this);
  }

  /** Returns the rows of the next range. Waits while many ranges have not ended, so that the size follows the time of their queries. */
  async next(): Promise<number> {
    const { workers, knownTo, seq } = this.#context;
    if (seq < knownTo) return this.#rows; // no query runs before that
    while (this.#underWay.size >= aheadOfEach * workers && !this.#context.isOver) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#rows;
  }

  /** Notes that the next query of the run has a range with this many rows. */
  given(rows: number): void {
    const { seq, shard } = this.#context;
    if (isInShard(seq + 1, shard)) this.#underWay.set(seq + 1, rows);
  }

  ended({ seq, outcome, durationMs }: Parameters<SourceListener["ended"]>[0]): void {
    const rows = this.#underWay.get(seq);
    if (rows === undefined) return;
    this.#underWay.delete(seq);
    this.#wake();
    if (outcome !== "done" && durationMs < this.#targetMs) return; // it does not show how long its rows take
    const before = this.#msPerRow ?? durationMs / rows;
    this.#msPerRow = before + weight * (durationMs / rows - before);
    this.#rows = Math.max(1, Math.floor(Math.min(this.#targetMs / this.#msPerRow, rows * growth)));
  }

  over(): void {
    this.#wake();
  }
}
