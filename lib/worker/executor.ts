/** The ways of sending queries to the server, and what an error means in each of them. */
import { type DatabaseError, verdictOf } from "../mysql/errors.ts";
import { interruption, isInterrupted } from "../mysql/interrupt.ts";
import { onlyReads, statementIn } from "../mysql/statement.ts";
import { workerDo } from "../worker.ts";
import type { LoadedFeature } from "./feature.ts";
import type { Job } from "./job.ts";
import { mayHaveLeftChanges } from "./left-changes.ts";
import { scripted, type WorkerDo } from "./scripted.ts";
import type { Session } from "./session.ts";
import type { Thread } from "./thread.ts";

export interface Executor {
  /** How many jobs go together in a round trip, at the most. */
  readonly maxBatch: number;
  /** Its jobs never go together. */
  readonly isAlone?: true;
  /** Returns the same with up to `maxBatch` jobs a round trip, where it has a way of its own for that. */
  together?(maxBatch: number): Executor;
  /** Whether a job can be one of several. */
  canBatch(job: Job, session: Session): boolean;
  /** Whether it sees to each job's commit itself: a transaction of the user's own cannot be open. */
  readonly commits: boolean;
  /** How long its own COMMIT took in the last attempt. */
  readonly commitMs?: number;
  /**
   * Sends the jobs once; `done` is called for each that is answered, in order. Rejects with what the next one met.
   *
   * @param signal is aborted when the time is up.
   */
  attempt(jobs: readonly Job[], session: Session, done: (rows: number) => void, signal?: AbortSignal): Promise<void>;
  /** What such an error means for that job. */
  judge(job: Job, error: DatabaseError, session: Session): Setback | Promise<Setback>;
  /** Asks what became of a job that may have run. */
  askLedger?(job: Job, session: Session): Promise<"done" | "failed" | "unknown">;
}

/** What an error means for a job. */
export interface Setback {
  /** The job may have run, and so may those that were sent after it. */
  readonly mayHaveRun?: boolean;
  /** It has certainly not run in an earlier try either. */
  readonly neverRan?: boolean;
  /** Whether to send it again; `free`: however often that was. */
  readonly retry: "no" | "counted" | "free";
  /** Whether to wait before that. */
  readonly waits?: boolean;
}

/** The one place that knows which options make which way of sending. */
export function executorFor(
  thread: Thread,
  own: WorkerDo<unknown, unknown> | undefined,
  features: readonly LoadedFeature[],
): Executor {
  let executor = own ? scripted(thread, own) : plain(thread);
  for (const { part, settings } of features) executor = part.executor?.(executor, thread, settings) ?? executor;
  const { timeoutMs } = thread.settings;
  return timeoutMs === undefined ? executor : limited(executor, timeoutMs, thread);
}

/** Each query by itself, as text or as a prepared statement. */
export function plain(thread: Pick<Thread, "rows" | "settings">): Executor {
  const { idempotent } = thread.settings;
  return {
    maxBatch: 1,
    canBatch: () => false,
    commits: false,
    async attempt([job], session, done) {
      const { text } = job!; // of half a gigabyte and more there is none: better now than when the query has run
      const rows = await workerDo(job!.query, session.mysql, thread.rows.listener([job!], session.mysql));
      if (isInterrupted(session.mysql) && onlyReads(text)) throw interruption();
      done(rows);
    },
    async judge({ text }, error, session) {
      const { answered = 0 } = error;
      if (answered > 0 && statementIn(text).isAtomic) {
        error.message += ` (statement ${answered + 1} of the query; those before it are done)`;
      }
      const verdict = verdictOf(error);
      const isOwnReadOnly = error.errno === 1792 && session.transaction.isOpen; // its transaction is, not the server
      if (verdict === "failed" || isOwnReadOnly) return { retry: "no" };
      if (verdict === "unknown") return { mayHaveRun: true, retry: idempotent ? "counted" : "no" };
      if (verdict === "reconnect" || idempotent) return { retry: "counted", waits: verdict === "retry" };
      // The server has not applied the statement that failed; of a compound one it may have applied others.
      const stays = (await mayHaveLeftChanges(error, session)) || answered > 0 || !statementIn(text).isAtomic;
      return { retry: stays ? "no" : "counted", waits: true };
    },
  };
}

/** Interrupts on the server what takes longer. */
function limited(single: Executor, limitMs: number, thread: Thread): Executor {
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
        const isReason = error === controller.signal.reason; // as a workerDo() throws it
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
