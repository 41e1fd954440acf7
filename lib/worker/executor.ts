/** The ways of sending queries to the server, and what an error means in each of them. */
import { type DatabaseError, isLost, verdictOf } from "../mysql/errors.ts";
import { executeText } from "../mysql/execute.ts";
import { takesLiterals } from "../mysql/filled.ts";
import { interruption, isInterrupted } from "../mysql/interrupt.ts";
import { onlyReads, statementIn } from "../mysql/statement.ts";
import { workerDo } from "../worker.ts";
import type { Job } from "./job.ts";
import { ledgered } from "./ledger.ts";
import { scripted, type WorkerDo } from "./scripted.ts";
import type { Session } from "./session.ts";
import { largestBatch, sized } from "./sized.ts";
import type { Thread } from "./thread.ts";

export interface Executor {
  /** How many jobs go together in a round trip, at the most. */
  readonly maxBatch: number;
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
export function executorFor(thread: Thread, own: WorkerDo | undefined): Executor {
  const { ledger, batch, timeoutMs } = thread.settings;
  const goAlone = own !== undefined || timeoutMs !== undefined; // a time limit could interrupt the next one
  const maxBatch = goAlone ? 1 : batch === "auto" ? largestBatch : batch;
  const single = own
    ? scripted(thread, own)
    : ledger !== undefined
      ? ledgered(thread, ledger, maxBatch)
      : plain(thread);
  if (timeoutMs !== undefined) return limited(single, timeoutMs, thread);
  const executor = maxBatch > single.maxBatch ? batched(single, maxBatch, thread) : single;
  return batch === "auto" && !goAlone ? sized(executor) : executor;
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
      if (verdict === "failed") return { retry: "no" };
      if (verdict === "unknown") return { mayHaveRun: true, retry: idempotent ? "counted" : "no" };
      if (verdict === "reconnect" || idempotent) return { retry: "counted", waits: verdict === "retry" };
      // The server has not applied the statement that failed; of a compound one it may have applied others.
      const stays = (await hasLeftChanges(error, session)) || answered > 0 || !statementIn(text).isAtomic;
      return { retry: stays ? "no" : "counted", waits: true };
    },
  };
}

/** Several in one round trip, as one text of several statements. */
function batched(single: Executor, maxBatch: number, thread: Thread): Executor {
  let together: readonly Job[] = [];
  let answered = 0;
  return {
    ...single,
    maxBatch,
    canBatch: (job, { mysql }) => job.canBatch(!thread.settings.rows && takesLiterals(mysql)),
    async attempt(jobs, session, done) {
      together = jobs.length > 1 ? jobs : [];
      answered = 0;
      if (jobs.length === 1) return single.attempt(jobs, session, done);
      const pieces = jobs.flatMap(({ part }, index) => (index === 0 ? [part!] : [separator, part!]));
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
        (error as DatabaseError).answered = undefined; // these were of other jobs
        throw error;
      }
    },
    judge(job, error, session) {
      if (together.length > 0 && verdictOf(error) === "failed") {
        // TiDB parses the whole text before it runs any of it: the mistake may stand in another one, and none has run.
        if (error.errno === 1064 && answered === 0) for (const each of together) each.goesAlone = true;
        // With values in its text, it may have failed where the prepared statement does not.
        if (job.goesAlone || job.bytes === undefined) return { retry: "free" };
      }
      return single.judge(job, error, session);
    },
  };
}
const separator = Buffer.from(";\n");

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

/** Whether the server could not undo all of a failed try: what it did to tables without transactions stays. */
async function hasLeftChanges(error: DatabaseError, session: Session): Promise<boolean> {
  if (isLost(error)) return false;
  const warnings = await session.ask("SHOW WARNINGS").catch(() => []);
  const hasLeft = warnings.some(([, code]) => Number(code) === 1196); // ER_WARNING_NOT_COMPLETE_ROLLBACK
  if (hasLeft) error.message += "; what it did to tables without transactions stays";
  return hasLeft;
}
