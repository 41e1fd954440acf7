/** Queries with a ledger: what is sent of each is in once.ts; here is what an error of it means. */
import { verdictOf } from "../mysql/errors.ts";
import { hashOf } from "../shared/hash.ts";
import type { Executor } from "./executor.ts";
import { LedgerError, nothing, Once, selectOf } from "./once.ts";
import type { Thread } from "./thread.ts";

/**
 * Runs each query and inserts its row, both or neither; a query that the ledger has is not run.
 *
 * @param table its name as SQL.
 */
export function ledgered(thread: Thread, table: string): Executor {
  const { idempotent } = thread.settings;
  let state = nothing;
  /** The last query was done before: the next one is probably, too, and asking for that costs the least. */
  let probablyDone = false;
  return {
    most: 1,
    joins: () => false,
    commits: true,
    async attempt([job], session, done) {
      const once = new Once(job!, session, thread, table);
      state = once.state;
      const rows = await once.run(probablyDone);
      probablyDone = state.doneBefore;
      if (state.selfCommitted) thread.counters.add(session.worker, "selfCommitted");
      if (state.doneBefore && job!.tries === 1 && !job!.mayHaveRun) thread.counters.add(session.worker, "doneBefore");
      done(rows);
    },
    judge(_, error) {
      if (error instanceof LedgerError) thread.endRun("refused", error.message);
      const verdict = verdictOf(error);
      const mayHaveRun = verdict === "unknown";
      const isSettled = state.inserted;
      if (verdict === "failed" || (mayHaveRun && state.mayHaveCommitted && !idempotent)) {
        return { mayHaveRun, isSettled, again: "no" };
      }
      const again = state.heldByAnother ? "uncounted" : "counted";
      return { mayHaveRun, isSettled, again, waits: verdict === "retry" };
    },
    async ask({ unit, seq }, session) {
      const rows = await session.ask(selectOf(table, seq)).catch(() => undefined);
      if (rows?.[0]?.[0] === hashOf(unit)) return "done";
      // Only of a row that was inserted, not of one that may be yet to come, does its absence tell.
      return rows && state.inserted && !state.mayHaveCommitted ? "failed" : "unknown";
    },
  };
}
