/** The executor for queries, and the time limit around any executor. */

import { stateOf } from "../mysql/connection-state.ts";
import { verdictOf } from "../mysql/errors.ts";
import { interruption, isInterrupted } from "../mysql/interrupt.ts";
import { keepsTransaction, onlyReads, statementIn } from "../mysql/statement.ts";
import { workerDo } from "../worker.ts";
import type { Executor } from "./executor.ts";
import type { LoadedFeature } from "./feature.ts";
import { leavesPart, mayHaveLeftChanges } from "./left-changes.ts";
import { scripted, type WorkerDo } from "./scripted.ts";
import type { Thread } from "./thread.ts";

/** Creates a worker's executor: plain or scripted, wrapped by the features, then by the time limit. */
export function executorFor(
  thread: Thread,
  own: WorkerDo<unknown, unknown> | undefined,
  features: readonly LoadedFeature[],
): Executor {
  let executor = own ? scripted(thread, own) : plain(thread);
  for (const { part, settings } of features) executor = part.executor?.(executor, thread, settings) ?? executor;
  const { timeoutMs } = thread.settings;
  return timeoutMs === undefined ? executor : withTimeout(executor, timeoutMs, thread);
}

/** Creates the executor that sends each query by itself, as text or as a prepared statement. */
export function plain(thread: Pick<Thread, "rows" | "settings">): Executor {
  const { idempotent } = thread.settings;
  return {
    maxBatch: 1,
    canBatch: () => false,
    commits: false,
    async attempt([job], session, done) {
      const { text } = job!; // throws for half a gigabyte and more: read it before the query has run
      const rows = await workerDo(job!.query, session.mysql, thread.rows.listener([job!], session.mysql));
      if (isInterrupted(session.mysql) && onlyReads(text)) throw interruption();
      if (session.transaction.isOpen && !keepsTransaction(text) && /^rollsBack/.test(statementIn(text).transaction))
        job!.leavesPart = await leavesPart(session.mysql, thread.settings.connectTimeoutMs);
      done(rows);
    },
    async classifyError({ text }, error, session) {
      const { answered = 0 } = error;
      if (answered > 0 && statementIn(text).isAtomic) {
        const isDone = !stateOf(session.mysql).isInTransaction; // after the statement before
        error.message += ` (statement ${answered + 1} of the query${isDone ? "; those before it are done" : ""})`;
      }
      const verdict = verdictOf(error);
      const isOwnReadOnly = error.errno === 1792 && session.transaction.isOpen; // the transaction is, not the server
      if (verdict === "failed" || isOwnReadOnly) return { retry: "no" };
      if (verdict === "unknown") return { mayHaveRun: true, retry: idempotent ? "counted" : "no" };
      if (verdict === "reconnect" || idempotent) return { retry: "counted", waits: verdict === "retry" };
      // The server has not applied the statement that failed. It may have applied earlier statements of a compound query.
      const stays = (await mayHaveLeftChanges(error, session)) || answered > 0 || !statementIn(text).isAtomic;
      return { retry: stays ? "no" : "counted", waits: true };
    },
  };
}

/** Wraps an executor for `--timeout`: interrupts an attempt on the server after `limitMs`. */
function withTimeout(single: Executor, limitMs: number, thread: Thread): Executor {
  return {
    ...single,
    async attempt(jobs, session, done) {
      const controller = new AbortController();
      let interrupting: Promise<void> | undefined;
      const timer = setTimeout(() => {
        controller.abort(new Error(`Time limit of ${limitMs / 1000} s`));
        if (session.mysql) interrupting = thread.interrupt([session.mysql]);
      }, limitMs);
      try {
        await single.attempt(jobs, session, done, controller.signal);
      } catch (error) {
        const isReason = error === controller.signal.reason; // a workerDo() may throw the signal's reason
        if (interrupting && error instanceof Error && !isReason)
          error.message += ` (time limit of ${limitMs / 1000} s)`;
        throw error;
      } finally {
        clearTimeout(timer);
        await interrupting;
      }
    },
  };
}
