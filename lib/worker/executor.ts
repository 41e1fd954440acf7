/** The ways of sending queries to the server, and what an error means in each of them. */
import type { ConnectionOptions } from "mysql2";
import { type DatabaseError, isLost, verdictOf } from "../mysql/errors.ts";
import { checkOneStatement, execute, isInTransaction } from "../mysql/execute.ts";
import { canShare, isAtomic, textOf } from "../mysql/statement.ts";
import type { Query } from "../shared/query.ts";
import type { Job } from "./job.ts";
import { ledgered } from "./ledger.ts";
import type { Session } from "./session.ts";
import type { Thread } from "./thread.ts";

export interface Executor {
  /** What it needs of a connection. */
  readonly needs: ConnectionOptions;
  /** How many jobs go together, at the most, and whether one can be among several. */
  readonly most: number;
  joins(job: Job): boolean;
  /** Sends the jobs once; `done` is called for each that is answered, in order. Rejects with what the next one met. */
  attempt(jobs: readonly Job[], session: Session, done: (rows: number) => void): Promise<void>;
  /** What such an error means for that job. */
  judge(job: Job, error: DatabaseError, session: Session): Setback | Promise<Setback>;
  /** Asks what became of a job that may have run. */
  ask?(job: Job, session: Session): Promise<"done" | "failed" | "unknown">;
}

export interface Setback {
  /** The job may have run, and so may those that were sent after it. */
  readonly mayHaveRun?: boolean;
  /** It has certainly not run in an earlier try either. */
  readonly isSettled?: boolean;
  /** Whether to send it again; `uncounted`: however often that was. */
  readonly again: "no" | "counted" | "uncounted";
  /** Whether to wait before that. */
  readonly waits?: boolean;
}

/** What a script's own functions do. */
export type WorkerDo = (unit: unknown, connection: unknown) => unknown;

/** The one place that knows which options make which way of sending. */
export function executorFor(thread: Thread, workerDo: WorkerDo | undefined): Executor {
  const { ledger, batch, timeoutMs } = thread.settings;
  const single = workerDo
    ? scripted(thread, workerDo)
    : ledger !== undefined
      ? ledgered(thread, ledger)
      : plain(thread);
  if (timeoutMs !== undefined) return limited(single, timeoutMs, thread); // one query at a time: it could interrupt the next
  return batch > 1 && !workerDo ? batched(single, batch, thread) : single;
}

/** Each query by itself, as text or as a prepared statement. */
function plain(thread: Thread): Executor {
  const { batch, idempotent } = thread.settings;
  return {
    needs: { multipleStatements: batch > 1 },
    most: 1,
    joins: () => false,
    async attempt([job], session, done) {
      const query = job!.unit as Query;
      const sql = typeof query === "string" ? query : query.sql;
      if (batch > 1 && sql.includes(";")) await checkOneStatement(session.mysql, sql);
      const rows = await execute(session.mysql, query, thread.rows.listener([job!], session.mysql));
      session.note(query);
      done(rows);
    },
    async judge({ unit }, error, session) {
      const verdict = verdictOf(error);
      if (verdict === "failed") return { again: "no" };
      if (verdict === "unknown") return { mayHaveRun: true, again: idempotent ? "counted" : "no" };
      if (verdict === "reconnect" || idempotent) return { again: "counted", waits: verdict === "retry" };
      // The server has not applied the statement that failed; of a compound one it may have applied others.
      const stays = (await hasLeftChanges(error, session)) || !isAtomic(unit);
      return { again: stays ? "no" : "counted", waits: true };
    },
  };
}

/** A script's `workerDo()`, which may have sent something before the error of its last statement. */
function scripted({ settings: { idempotent } }: Thread, workerDo: WorkerDo): Executor {
  return {
    needs: {},
    most: 1,
    joins: () => false,
    async attempt([job], session, done) {
      const rows = await workerDo(job!.unit, session.connection);
      done(typeof rows === "number" ? rows : 0);
    },
    async judge(_, error, session) {
      if (session.mysql && !isLost(error)) await execute(session.mysql, "ROLLBACK").catch(() => {}); // what it left open
      const verdict = verdictOf(error);
      if (verdict === "failed") return { again: "no" };
      if (verdict === "retry") return { again: "counted", waits: true };
      return { mayHaveRun: true, again: idempotent ? "counted" : "no" };
    },
  };
}

/** Several in one round trip, as one text of several statements. */
function batched(single: Executor, most: number, thread: Thread): Executor {
  return {
    ...single,
    most,
    joins: ({ tries, unit }) => tries === 0 && canShare(unit),
    async attempt(jobs, session, done) {
      if (jobs.length === 1) return single.attempt(jobs, session, done);
      const text = jobs.map(({ unit }) => textOf(unit)).join(";\n");
      try {
        const listener = {
          ...thread.rows.listener(jobs, session.mysql),
          onDone: (_: number, rows: number) => done(rows),
        };
        await execute(session.mysql, text, listener);
      } finally {
        session.inTransaction = isInTransaction(session.mysql);
      }
    },
  };
}

/** Interrupts on the server what takes longer. */
function limited(single: Executor, ms: number, thread: Thread): Executor {
  return {
    ...single,
    async attempt(jobs, session, done) {
      let interrupting: Promise<void> | undefined;
      const timer = setTimeout(() => {
        if (session.mysql) interrupting = thread.interrupt([session.mysql]);
      }, ms);
      try {
        await single.attempt(jobs, session, done);
      } catch (error) {
        if (interrupting && error instanceof Error) error.message += ` (time limit of ${ms / 1000} s)`;
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
  let hasLeft = false;
  const onWarning = ([, code]: unknown[]) => {
    hasLeft ||= Number(code) === 1196; // ER_WARNING_NOT_COMPLETE_ROLLBACK
    return true;
  };
  await execute(session.mysql, "SHOW WARNINGS", { onResult: () => onWarning }).catch(() => {});
  if (hasLeft) Object.assign(error, { message: `${error.message}; what it did to tables without transactions stays` });
  return hasLeft;
}
