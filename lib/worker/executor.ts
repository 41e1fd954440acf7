/** Executors: the ways of sending queries to the server, each with its own handling of errors. */
import { type DatabaseError, verdictOf } from "../mysql/errors.ts";
import { interruption, isInterrupted } from "../mysql/interrupt.ts";
import { isInTransaction } from "../mysql/server-state.ts";
import { onlyReads, statementIn } from "../mysql/statement.ts";
import { workerDo } from "../worker.ts";
import type { LoadedFeature } from "./feature.ts";
import type { Job } from "./job.ts";
import { mayHaveLeftChanges } from "./left-changes.ts";
import { scripted, type WorkerDo } from "./scripted.ts";
import type { Session } from "./session.ts";
import type { Thread } from "./thread.ts";

/** Way of sending queries. Each worker has its own executor. */
export interface Executor {
  /** The most jobs in one round trip. */
  readonly maxBatch: number;
  /** Set if this executor never sends several jobs in one round trip. */
  readonly isAlone?: true;
  /** Returns this executor with up to `maxBatch` jobs in a round trip. Missing if it has no way of its own to batch. */
  together?(maxBatch: number): Executor;
  /** Returns true if a job can go with others in one round trip. */
  canBatch(job: Job, session: Session): boolean;
  /** True if this executor commits each job itself. No transaction of the user can be open then. */
  readonly commits: boolean;
  /** Duration of its own COMMIT in the last attempt. */
  readonly commitMs?: number;
  /**
   * Sends the jobs once. Calls `done` for each job that the server has answered, in order. Rejects with the error of the first
   * job that `done` was not called for.
   *
   * @param signal aborted after `--timeout`.
   */
  attempt(jobs: readonly Job[], session: Session, done: (rows: number) => void, signal?: AbortSignal): Promise<void>;
  /** Decides whether a job that ended with this error is sent again. */
  classifyError(job: Job, error: DatabaseError, session: Session): RetryDecision | Promise<RetryDecision>;
  /** Looks up in the ledger whether a job that may have run is done. */
  askLedger?(job: Job, session: Session): Promise<"done" | "failed" | "unknown">;
}

/** Decision about a job that ended with an error. */
export interface RetryDecision {
  /** The job may have run, and so may the jobs that were sent after it. */
  readonly mayHaveRun?: boolean;
  /** The job has certainly not run in an earlier try either. */
  readonly neverRan?: boolean;
  /** `counted`: send the job again unless it has used all `--retries`. `free`: send it again without counting. */
  readonly retry: "no" | "counted" | "free";
  /** True to wait before the next try. */
  readonly waits?: boolean;
}

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
      done(rows);
    },
    async classifyError({ text }, error, session) {
      const { answered = 0 } = error;
      if (answered > 0 && statementIn(text).isAtomic) {
        const isDone = !isInTransaction(session.mysql); // after the statement before
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
