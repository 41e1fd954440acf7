/** How many queries go together, by how long they take: `batch: "auto"`. */
import type { Connection } from "mysql2";
import type { Executor } from "../../worker/executor.ts";
import type { Session } from "../../worker/session.ts";

/** The most that are tried. Measured: more than 64 of the smallest queries in one round trip gain next to nothing. */
export const largestBatch = 64;
/** How long the queries of a batch are to take, its round trip and the commit of a ledger not counted. */
const goalMs = 5;
/** What the last attempt counts for in the average. */
const weight = 1 / 4;

/** Chooses how many queries go together: one slow query by itself, and ever more of small ones. */
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
        roundTripMs = await roundTrip(session);
      }
      let answered = 0;
      const start = performance.now();
      try {
        await executor.attempt(jobs, session, (rows) => {
          answered++;
          done(rows);
        });
      } finally {
        // As much as one query more would take: waiting for the network or for a commit is shared.
        const tookMs = performance.now() - start - roundTripMs - (executor.commitMs ?? 0);
        const eachMs = Math.max(0, tookMs) / Math.max(1, answered);
        averageMs = averageMs === undefined ? eachMs : averageMs + (eachMs - averageMs) * weight;
        maxBatch = Math.max(1, Math.min(largestBatch, 2 * maxBatch, Math.floor(goalMs / averageMs)));
      }
    },
  };
}

/** How long the server takes to answer to nothing. */
async function roundTrip(session: Session): Promise<number> {
  const start = performance.now();
  await session.ask("DO 0").catch(() => {}); // what comes next meets the error, too
  return performance.now() - start;
}
