/** An executor: a way of sending queries to the server, with its own handling of errors. */
import type { DatabaseError } from "../mysql/errors.ts";
import type { Job } from "./job.ts";
import type { Session } from "./session.ts";

/** Each worker has its own executor. */
export interface Executor {
  /** The most jobs in one round trip. */
  readonly maxBatch: number;
  /** Set for a script's own `workerDo()`: its units are no queries, even if they are text. They are never sent together. */
  readonly isScripted?: true;
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
  /** Finds out how a job has ended that may have run. Missing if only the server's answer tells. */
  findOutcome?(job: Job, session: Session): Promise<"done" | "failed" | "unknown">;
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
