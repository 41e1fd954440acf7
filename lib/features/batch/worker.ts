/** Sends several queries in one round trip. */

import { takesLiterals } from "../../mysql/batchable.ts";
import { type DatabaseError, verdictOf } from "../../mysql/errors.ts";
import { executeText } from "../../mysql/execute.ts";
import { canShare } from "../../worker/batch-text.ts";
import type { Executor } from "../../worker/executor.ts";
import type { WorkerFeature } from "../../worker/feature.ts";
import type { Job } from "../../worker/job.ts";
import type { Thread } from "../../worker/thread.ts";
import { largestBatch, withAutoBatch } from "./auto-batch.ts";

export const feature: WorkerFeature<number | "auto"> = {
  executor(inner, thread, batch) {
    // With --timeout there is no batch, because `KILL QUERY` could hit the next query of it.
    if (batch === 1 || inner.isScripted || thread.settings.timeoutMs !== undefined) return inner;
    const maxBatch = batch === "auto" ? largestBatch : batch;
    const executor = inner.together?.(maxBatch) ?? batched(inner, maxBatch, thread);
    return batch === "auto" ? withAutoBatch(executor) : executor;
  },
};

/** Sends several queries as one text of several statements. */
function batched(single: Executor, maxBatch: number, thread: Thread): Executor {
  let together: readonly Job[] = [];
  let answered = 0;
  return {
    ...single,
    maxBatch,
    canBatch: (job, { mysql }) => canShare(job, !thread.rows.isWanted && takesLiterals(mysql)),
    async attempt(jobs, session, done) {
      together = jobs.length > 1 ? jobs : [];
      answered = 0;
      if (jobs.length === 1) return single.attempt(jobs, session, done);
      const pieces = jobs.flatMap(({ batchText }) => [batchText as Uint8Array, separator]).slice(0, -1);
      const listener = thread.rows.listener(jobs, session.mysql);
      try {
        await executeText(session.mysql, pieces, {
          ...listener,
          onDone(_, rows) {
            answered++;
            done(rows);
          },
        });
      } catch (error) {
        (error as DatabaseError).answered = undefined; // it counts statements of other jobs
        throw error;
      }
    },
    classifyError(job, error, session) {
      if (together.length > 0 && verdictOf(error) === "failed") {
        // TiDB parses the whole text before it runs any of it. The syntax error may be in another query, and none has run.
        if (error.errno === 1064 && answered === 0) for (const each of together) each.batchText = false;
        // A query with values in its text may fail although the prepared statement does not.
        if (!job.batchText || job.bytes === undefined) return { retry: "free" };
      }
      return single.classifyError(job, error, session);
    },
  };
}
const separator = Buffer.from(";\n");
