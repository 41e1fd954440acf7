/** Adapts the rows of a range to the time of earlier queries, for `seconds` of `ranges()`. */
import { isInShard } from "../../parent/selection.ts";
import type { SourceContext } from "../../shared/source-context.ts";

/** Weight of the latest query in the moving average. */
const weight = 0.25;
/** Most times the rows of the query that ended last. */
const growth = 2;
/** Ranges per worker that have not ended: one is running, and one is ready. */
const aheadOfEach = 2;

/**
 * @param firstRows rows of the first ranges.
 * @param seconds target time of one query.
 */
export function rangeSize(firstRows: number, seconds: number, context: SourceContext) {
  const targetMs = seconds * 1000;
  /** Rows of the ranges that have not ended, by the seq of their query. */
  const underWay = new Map<number, number>();
  let size = firstRows;
  let msPerRow: number | undefined;
  let wake = (): void => {};

  context.listen({
    ended({ seq, outcome, durationMs }) {
      const rows = underWay.get(seq);
      if (rows === undefined) return;
      underWay.delete(seq);
      wake();
      if (outcome !== "done" && durationMs < targetMs) return; // it does not show how long its rows take
      const before = msPerRow ?? durationMs / rows;
      msPerRow = before + weight * (durationMs / rows - before);
      size = Math.max(1, Math.floor(Math.min(targetMs / msPerRow, rows * growth)));
    },
    over: () => wake(),
  });

  return {
    /** Returns the rows of the next range. Waits while many ranges have not ended, so that the size follows the time of their queries. */
    async next(): Promise<number> {
      const { workers, knownTo, seq } = context;
      if (seq < knownTo) return size; // no query runs before that
      while (underWay.size >= aheadOfEach * workers && !context.isOver) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return size;
    },
    /** Notes that the next query of the run has a range with this many rows. */
    given(rows: number): void {
      const { seq, shard } = context;
      if (isInShard(seq + 1, shard)) underWay.set(seq + 1, rows);
    },
  };
}
