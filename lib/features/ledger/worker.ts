/** The executor for a ledger: decides about errors. ledger-attempt.ts and ledger-batch-attempt.ts send the statements. */
import type { Connection } from "mysql2";
import { takesLiterals } from "../../mysql/batchable.ts";
import { isVitess } from "../../mysql/connection.ts";
import { verdictOf } from "../../mysql/errors.ts";
import { canShare } from "../../worker/batch-text.ts";
import type { Executor } from "../../worker/executor.ts";
import type { WorkerFeature } from "../../worker/feature.ts";
import type { Session } from "../../worker/session.ts";
import type { Thread } from "../../worker/thread.ts";
import { LedgerAttempt, LedgerError, selectOf } from "./ledger-attempt.ts";
import { LedgerBatchAttempt } from "./ledger-batch-attempt.ts";
import { initialState, rollback } from "./ledger-transaction.ts";
import { counted, type LedgerSettings, locking, rowOf } from "./row.ts";

export const feature: WorkerFeature<LedgerSettings> = {
  executor: (_, thread, settings) => ledgered(thread, settings),
};

const keptToOneShard = new WeakSet<Connection>();

/**
 * Makes vtgate refuse a transaction with several shards. It would commit one shard after the other, so the row could be in the
 * ledger without the query. With `transaction_mode` TWOPC both or neither are committed.
 */
async function keepToOneShard(session: Session): Promise<void> {
  const { mysql } = session;
  if (keptToOneShard.has(mysql)) return;
  const [row] = await session.ask("SELECT @@transaction_mode");
  if (row![0]?.toUpperCase() !== "TWOPC") await session.ask("SET transaction_mode = 'single'");
  keptToOneShard.add(mysql);
}

/**
 * Runs each query and inserts its row, both or neither. A query that the ledger has does not run.
 *
 * @param maxBatch most queries in one transaction.
 */
function ledgered(thread: Thread, settings: LedgerSettings, maxBatch = 1): Executor {
  const { table, counts } = settings;
  const { idempotent } = thread.settings;
  let state = initialState;
  /** True if the last query was in the ledger already. The next one probably is, too, and a SELECT first is the cheapest then. */
  let checkLedgerFirst = false;
  return {
    maxBatch,
    together: (most) => ledgered(thread, settings, most),
    // Rows that were delivered cannot be taken back.
    canBatch: (job, { mysql }) => maxBatch > 1 && !thread.rows.isWanted && canShare(job, takesLiterals(mysql)),
    commits: true,
    get commitMs() {
      return state.commitMs;
    },
    async attempt(jobs, session, done) {
      if (isVitess(session.mysql)) await keepToOneShard(session);
      const attempt =
        jobs.length > 1
          ? new LedgerBatchAttempt(jobs, session, table)
          : new LedgerAttempt(jobs[0]!, session, thread, table);
      state = attempt.state;
      let answered = 0;
      try {
        await attempt.run(checkLedgerFirst, (rows) => {
          const job = jobs[answered++]!;
          checkLedgerFirst = state.alreadyInLedger;
          if (state.selfCommitted) Atomics.add(counts, counted.selfCommitted, 1);
          if (state.alreadyInLedger && !job.mayBeRecorded) Atomics.add(counts, counted.alreadyInLedger, 1);
          done(rows);
        });
      } catch (error) {
        for (const job of jobs.slice(answered)) job.mayBeRecorded ||= state.mayBeRecorded;
        throw error;
      }
    },
    classifyError(_, error) {
      if (error instanceof LedgerError) thread.endRun("refused", error.message);
      const verdict = verdictOf(error);
      const mayHaveRun = verdict === "unknown";
      const neverRan = state.inserted;
      if (state.retryAlone) return { mayHaveRun, neverRan, retry: "free", waits: verdict === "retry" };
      if (verdict === "failed" || (mayHaveRun && state.mayHaveCommitted && !idempotent)) {
        return { mayHaveRun, neverRan, retry: "no" };
      }
      const retry = state.heldByAnother ? "free" : "counted";
      return { mayHaveRun, neverRan, retry, waits: verdict === "retry" };
    },
    async findOutcome(job, session) {
      const row = rowOf(job);
      const select = locking(selectOf(table, row));
      const rows = await session.ask(select).catch(() => void session.ask(rollback).catch(() => {}));
      if (rows?.[0]?.[0] === row.hash) return "done";
      // A missing row proves failure only if this try had inserted it. Otherwise it may still be inserted.
      return rows && state.inserted && !state.mayHaveCommitted ? "failed" : "unknown";
    },
  };
}
