/** Adapts the batch size to the query time, for `batch: "auto"`. */
import type { Connection } from "mysql2";
import type { Executor } from "../../worker/executor.ts";

/** Largest batch. Measured with the smallest queries: beyond 64, a larger batch gains almost nothing. */
export const largestBatch = 64;
/** Target time of the queries of a batch, without its round trip and the COMMIT of a ledger. */
const goalMs = 5;
/** Weight of the last attempt in the moving average. */
const weight = 1 / 4;

/** Wraps an executor and sets its `maxBatch`: 1 for slow queries, growing for fast ones. */
export function withAutoBatch(executor: Executor): Executor {
  let maxBatch = 1;
  let averageMs: number | undefined;
  let measured: Connection | undefined;
  let roundTripMs = 0;
  return {
    ...executor,
    get maxBatch() {
      return maxBatch;
    },
    async attempt(jobs, session, done) {
      if (session.mysql !== measured) {
        measured = session.mysql;
        const begun = performance.now();
        await session.ask("DO 0").catch(() => {}); // the next statement gets the error, too
        roundTripMs = performance.now() - begun;
      }
      let answered = 0;
      const start = performance.now();
      try {
        await executor.attempt(jobs, session, (rows) => {
          answered++;
          done(rows);
        });
      } finally {
        // The time of one more query. Waiting for the network or for a COMMIT is shared by the batch.
        const tookMs = performance.now() - start - roundTripMs - (executor.commitMs ?? 0);
        const eachMs = Math.max(0, tookMs) / Math.max(1, answered);
        averageMs = averageMs === undefined ? eachMs : averageMs + (eachMs - averageMs) * weight;
        maxBatch = Math.max(1, Math.min(largestBatch, 2 * maxBatch, Math.floor(goalMs / averageMs)));
      }
    },
  };
}
