/**
 * The worker's side: `workerInit()`, `workerDo()`, and the loop that a process of the original's Pool ran.
 *
 * A thread carries one or several workers. Each worker has its own connection and runs one query at a time. It claims the
 * next query in shared memory, runs it, and writes the outcome into the query's record.
 */
import type { Connection, ConnectionOptions } from "mysql2";
import { myglobals } from "./myglobals.ts";
import type { ResultListener } from "./mysql/command.ts";
import { connect, type Host } from "./mysql/connection.ts";
import { takeWarnings } from "./mysql/connection-state.ts";
import { backoffMs, type DatabaseError } from "./mysql/errors.ts";
import { execute } from "./mysql/execute.ts";
import { isInterrupted } from "./mysql/interrupt.ts";
import type { Query } from "./shared/query.ts";
import type { Executor } from "./worker/executor.ts";
import type { Job } from "./worker/job.ts";
import type { Session } from "./worker/session.ts";
import type { Thread } from "./worker/thread.ts";

/**
 * Connects a worker. Runs before the worker's first query, and again when it needs another connection. `workerDo()` gets
 * the connection that this returns.
 *
 * @param host the host to connect to, if the run has several. Otherwise `myglobals.config.db` names it.
 * @param options mysql2 options that the run sets, such as `connectTimeout` in ms.
 */
export function workerInit(host?: Host, options?: ConnectionOptions): Promise<Connection> {
  return connect({ ...options, ...myglobals.config.db, ...host });
}

/**
 * Runs one query.
 *
 * @param listener receives its rows. Missing if nobody wants them.
 * @returns the number of rows it returned or changed.
 */
export function workerDo(query: Query, connection: Connection, listener?: ResultListener): Promise<number> {
  return execute(connection, query, listener);
}

/** Runs one worker: claims queries and runs them until the run ends or no server is to be had. */
export async function work(session: Session, executor: Executor, thread: Thread): Promise<void> {
  const canBatch = (job: Job) => executor.canBatch(job, session);
  while (!thread.isWanted(session.worker)) if (!(await thread.wait())) return; // no connection to close yet
  while (!session.hasGivenUp && (session.isReady || (await session.ready()))) {
    const jobs = thread.claimNow(session.worker, executor.maxBatch, canBatch);
    if (jobs.length > 0) await runToOutcome(jobs, session, executor, thread);
    else if (!(await thread.wait())) break;
  }
  await session.close();
}

/** Sends claimed queries, in order, until each has an outcome. Sends several in one round trip until one of them fails. */
async function runToOutcome(
  claimed: readonly Job[],
  session: Session,
  executor: Executor,
  thread: Thread,
): Promise<void> {
  let jobs = claimed;
  for (let isFirst = true; jobs.length > 0; isFirst = false) {
    // A claimed query is sent once even if the run is draining by now.
    if ((!isFirst && thread.isDraining) || !(session.isReady || (await session.ready()))) break;
    jobs = thread.endSetupStatements(session.worker, jobs);
    if (jobs.length === 0) return;
    const firstAlone = jobs.findIndex((job) => !executor.canBatch(job, session));
    const sent = jobs.slice(0, firstAlone < 0 ? jobs.length : Math.max(1, firstAlone));
    if (!executor.isScripted && !session.canSend(sent)) break;
    if (session.warned.isPending) await session.warned.tell(sent, session.mysql, thread.settings.connectTimeoutMs);
    const { answered, error } = await sendOnce(sent, session, executor, thread);
    jobs = jobs.slice(answered);
    const [job] = jobs;
    if (!job || !error) continue; // after the last answer only a lost connection matters, and `isReady` notices that
    await session.detectLoss(error);
    const { mayHaveRun, neverRan, retry, waits } = await executor.classifyError(job, error, session);
    await session.afterError(error, job);
    if (!executor.commits) await session.rollBackOwn(error, job);
    if (neverRan) job.mayHaveRun = false; // in no earlier try either
    const unanswered = mayHaveRun ? sent.slice(answered) : [job];
    if (mayHaveRun) for (const each of unanswered) each.mayHaveRun = true;
    const isRefused = session.isRefused && retry !== "no";
    if (isRefused) job.takeBackTry();
    const hasTryLeft = isRefused || retry === "free" || (retry === "counted" && job.tries <= thread.settings.retries);
    // Rows that were passed on cannot be taken back, so such a query is not sent again.
    if (hasTryLeft && job.rows === 0) {
      if (waits && !isRefused) await thread.pause(backoffMs(job.tries));
      continue;
    }
    const givenUp = retry === "no" ? unanswered : [job]; // the jobs after this one have tries left
    await giveUp(givenUp, session, executor, thread);
    jobs = jobs.slice(givenUp.length);
  }
  const [refused] = jobs;
  if (session.hasGivenUp && refused?.error) {
    await giveUp([refused], session, executor, thread);
    jobs = jobs.slice(1);
  }
  for (const job of jobs) thread.giveBack(session.worker, job);
}

/** Ends jobs that are not sent again. If the executor can, finds out about each job that may have run. */
async function giveUp(jobs: readonly Job[], session: Session, executor: Executor, thread: Thread): Promise<void> {
  if (!executor.commits) await session.afterFailure(jobs[0]!);
  for (const job of jobs) {
    const isAsked = job.mayHaveRun && executor.findOutcome && (await session.ready());
    const outcome = isAsked ? await executor.findOutcome!(job, session) : job.mayHaveRun ? "unknown" : "failed";
    thread.end(session.worker, job, outcome, outcome === "done" ? job.rows : 0);
  }
}

/** Sends jobs once. Returns how many were answered, and the error of the next one. */
async function sendOnce(sent: readonly Job[], session: Session, executor: Executor, thread: Thread) {
  const { worker, mysql } = session;
  let answered = 0;
  thread.running[worker] = mysql;
  takeWarnings(mysql); // drops the warnings of our own statements
  sent[0]?.addTry();
  try {
    await executor.attempt(sent, session, (rows) => {
      const job = sent[answered++]!;
      session.forgetRefusal();
      const warned = takeWarnings(mysql);
      if (warned) session.warned.add(job, warned, mysql, answered === sent.length);
      if (isInterrupted(mysql)) thread.post({ type: "killedTooLate", seq: job.seq });
      if (executor.commits) thread.end(worker, job, "done", rows);
      else session.answered(job, rows);
      sent[answered]?.addTry();
    });
    if (answered < sent.length) throw new Error("The server gave fewer results than there were queries");
    return { answered };
  } catch (thrown) {
    const error = thrown as DatabaseError;
    for (const job of sent.slice(answered)) job.error = error;
    return { answered, error };
  } finally {
    thread.running[worker] = undefined;
  }
}
