/**
 * The worker's side: what a process of the original's Pool did.
 *
 * A thread carries one or several workers. Each has one connection of its own and runs one query at a time: it claims the next
 * one in shared memory, runs it, and writes into the query's record how it ended.
 */
import type { Connection, ConnectionOptions } from "mysql2";
import { myglobals } from "./myglobals.ts";
import { connect, type Host } from "./mysql/connection.ts";
import { backoffMs, type DatabaseError } from "./mysql/errors.ts";
import { execute } from "./mysql/execute.ts";
import type { Query } from "./shared/query.ts";
import type { Executor } from "./worker/executor.ts";
import type { Job } from "./worker/job.ts";
import type { Session } from "./worker/session.ts";
import type { Thread } from "./worker/thread.ts";

/**
 * Runs in each worker before its first query, and when it needs another connection. What it returns is given to `workerDo()`.
 *
 * @param host where to connect to, when the run has several; else it is in `myglobals.config.db`.
 * @param options what the run needs of a connection, such as `connectTimeout` in milliseconds.
 */
export function workerInit(host?: Host, options?: ConnectionOptions): Promise<Connection> {
  return connect({ ...options, ...myglobals.config.db, ...host });
}

/**
 * Runs one query.
 *
 * @returns the number of rows it returned or changed.
 */
export function workerDo(query: Query, connection: Connection): Promise<number> {
  return execute(connection, query);
}

/** A worker, from its first connection to its last. */
export async function work(session: Session, executor: Executor, thread: Thread): Promise<void> {
  while (await session.ready()) {
    const jobs = await thread.claim(session.worker, executor.most, executor.joins);
    if (!jobs) break;
    await finish(jobs, session, executor, thread);
  }
  await session.close();
}

/** Brings claimed queries to their outcomes, the first one first; several go together as long as all goes well. */
async function finish(jobs: Job[], session: Session, executor: Executor, thread: Thread): Promise<void> {
  const { worker } = session;
  for (let isFirst = true; jobs.length > 0; isFirst = false) {
    if ((!isFirst && thread.isDraining) || !(await session.ready())) break;
    const alone = jobs.findIndex((job) => !executor.joins(job));
    const sent = jobs.slice(0, alone < 0 ? jobs.length : Math.max(1, alone));
    const { answered, error } = await attempt(sent);
    const unanswered = sent.slice(answered);
    jobs.splice(0, answered);
    const [job] = unanswered;
    if (!job || !error) continue;
    const { mayHaveRun, isSettled, again, waits } = await executor.judge(job, error, session);
    await session.heed(error);
    if (isSettled) job.mayHaveRun = false;
    if (mayHaveRun) for (const each of unanswered) each.mayHaveRun = true;
    const isCounted = again === "uncounted" || job.tries <= thread.settings.retries;
    if (again !== "no" && isCounted && job.rows === 0) {
      if (waits) await thread.pause(backoffMs(job.tries));
      continue;
    }
    for (const each of mayHaveRun && again === "no" ? unanswered : [job]) {
      jobs.shift();
      const isAsked = each.mayHaveRun && executor.ask && (await session.ready());
      const outcome = isAsked ? await executor.ask!(each, session) : each.mayHaveRun ? "unknown" : "failed";
      thread.end(worker, each, outcome, outcome === "done" ? each.rows : 0);
    }
  }
  for (const job of jobs) thread.giveBack(worker, job);

  /** Sends jobs once; returns how many were answered, and what the next one met. */
  async function attempt(sent: readonly Job[]): Promise<{ answered: number; error?: DatabaseError }> {
    let answered = 0;
    thread.running[worker] = session.mysql;
    sent[0]!.addTry();
    try {
      await executor.attempt(sent, session, (rows) => {
        thread.end(worker, sent[answered++]!, "done", rows);
        sent[answered]?.addTry();
      });
      if (answered < sent.length) throw new Error("The server gave fewer results than there were queries");
      return { answered };
    } catch (thrown) {
      const error = (thrown ?? new Error("workerDo() rejected without a reason")) as DatabaseError;
      for (const job of sent.slice(answered)) job.error = error;
      return { answered, error };
    } finally {
      thread.running[worker] = undefined;
    }
  }
}
