/** How many rows a range has: always the same number, or as many as the queries manage in a time. */
import { isInShard } from "../../parent/keys.ts";
import type { Reading, ReadingListener } from "../../shared/reading.ts";

/** How much the latest query counts beside those before it. */
const weight = 0.25;
/** A range has at most so many times the rows of one whose query has ended. */
const growth = 2;
/** Ranges for each worker that are not done: one is being worked on, and one is ready. */
const aheadOfEach = 2;

export class RangeSize implements ReadingListener {
  #rows: number;
  readonly #targetMs: number;
  readonly #reading: Reading;
  /** The rows of the ranges that are not done, by the seq of the query made of each. */
  readonly #underWay = new Map<number, number>();
  #msPerRow: number | undefined;
  #wake = (): void => {};

  /** @param seconds how long a query is to take. */
  constructor(rows: number, seconds: number, reading: Reading) {
    this.#rows = rows;
    this.#targetMs = seconds * 1000;
    this.#reading = reading;
    reading.listen(this);
  }

  /** The rows of the next range; waits until few ranges are left to do, so that the size follows what their queries take. */
  async next(): Promise<number> {
    const { workers, knownTo, seq } = this.#reading;
    if (seq < knownTo) return this.#rows; // nothing is run before that
    while (this.#underWay.size >= aheadOfEach * workers && !this.#reading.isOver) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#rows;
  }

  /** Notes that the next query that the run reads is made of a range with so many rows. */
  given(rows: number): void {
    const { seq, shard } = this.#reading;
    if (isInShard(seq + 1, shard)) this.#underWay.set(seq + 1, rows);
  }

  ended({ seq, outcome, durationMs }: Parameters<ReadingListener["ended"]>[0]): void {
    const rows = this.#underWay.get(seq);
    if (rows === undefined) return;
    this.#underWay.delete(seq);
    this.#wake();
    if (outcome !== "done" && durationMs < this.#targetMs) return; // it says nothing of what its rows take
    const before = this.#msPerRow ?? durationMs / rows;
    this.#msPerRow = before + weight * (durationMs / rows - before);
    this.#rows = Math.max(1, Math.floor(Math.min(this.#targetMs / this.#msPerRow, rows * growth)));
  }

  over(): void {
    this.#wake();
  }
}
