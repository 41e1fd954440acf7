/** Queries with a ledger: what is sent of them is in once.ts and once-together.ts; here is what an error means. */
import { verdictOf } from "../../mysql/errors.ts";
import { takesLiterals } from "../../mysql/inline-values.ts";
import { checkValues } from "../../shared/query.ts";
import type { Executor } from "../../worker/executor.ts";
import type { WorkerFeature } from "../../worker/feature.ts";
import type { Thread } from "../../worker/thread.ts";
import { LedgerError, nothing, Once, selectOf } from "./once.ts";
import { OnceTogether } from "./once-together.ts";
import { rowOf } from "./row.ts";

export const feature: WorkerFeature<string> = {
  executor: (_, thread, table) => ledgered(thread, table),
};

/**
 * Runs each query and inserts its row, both or neither; a query that the ledger has is not run.
 *
 * @param table its name as SQL.
 * @param maxBatch how many queries go together in one transaction, at the most.
 */
function ledgered(thread: Thread, table: string, maxBatch = 1): Executor {
  const { idempotent } = thread.settings;
  let state = nothing;
  /** The last query was done before: the next one is probably, too, and asking for that costs the least. */
  let probablyDone = false;
  return {
    maxBatch,
    together: (most) => ledgered(thread, table, most),
    // Rows that are given cannot be taken back.
    canBatch: (job, { mysql }) => maxBatch > 1 && !thread.rows.isWanted && job.canBatch(takesLiterals(mysql)),
    commits: true,
    get commitMs() {
      return state.commitMs;
    },
    async attempt(jobs, session, done) {
      if (jobs.length > 1) {
        const together = new OnceTogether(jobs, session, thread, table);
        state = together.state;
        await together.run(probablyDone, done);
        probablyDone = state.doneBefore;
        return;
      }
      const [job] = jobs;
      if (job!.bytes === undefined) checkValues(job!.query); // before anything is sent
      const once = new Once(job!, session, thread, table);
      state = once.state;
      const rows = await once.run(probablyDone).catch((error) => {
        job!.mayBeRecorded ||= once.state.mayBeRecorded;
        throw error;
      });
      probablyDone = state.doneBefore;
      if (state.selfCommitted) thread.counters.add(session.worker, "selfCommitted");
      if (state.doneBefore && !job!.mayBeRecorded) thread.counters.add(session.worker, "doneBefore");
      done(rows);
    },
    classifyError(_, error) {
      if (error instanceof LedgerError) thread.endRun("refused", error.message);
      const verdict = verdictOf(error);
      const mayHaveRun = verdict === "unknown";
      const neverRan = state.inserted;
      if (state.goesAlone) return { mayHaveRun, neverRan, retry: "free", waits: verdict === "retry" };
      if (verdict === "failed" || (mayHaveRun && state.mayHaveCommitted && !idempotent)) {
        return { mayHaveRun, neverRan, retry: "no" };
      }
      const retry = state.heldByAnother ? "free" : "counted";
      return { mayHaveRun, neverRan, retry, waits: verdict === "retry" };
    },
    async askLedger(job, session) {
      const row = rowOf(job);
      const rows = await session.ask(selectOf(table, row)).catch(() => undefined);
      if (rows?.[0]?.[0] === row.hash) return "done";
      // Only of a row that was inserted, not of one that may be yet to come, does its absence tell.
      return rows && state.inserted && !state.mayHaveCommitted ? "failed" : "unknown";
    },
  };
}
