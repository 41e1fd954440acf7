/**
 * The parent's side: `doWork()` starts the workers, feeds the queue, watches, and reports.
 *
 * Ports `multiprocessing.Pool`, `map` with chunk size 1, `close` and `join` of the Python original.
 */
import { startFiles } from "./load.ts";
import { whyNoServer } from "./myglobals.ts";
import { messageOf, RefusedError, RunError } from "./parent/errors.ts";
import { checkSource, Feed, totalOf } from "./parent/feed.ts";
import { type Source, type Summary, type WorkOptions, withDefaults } from "./parent/options.ts";
import { Pool } from "./parent/pool.ts";
import { Run } from "./parent/run.ts";
import { refuseInWorkerThread } from "./shared/own-thread.ts";
import type { Query } from "./shared/query.ts";
import type { Segment } from "./shared/segment.ts";

export type { Host } from "./mysql/connection.ts";
export { RefusedError, RunError } from "./parent/errors.ts";
export type { Gate, Source, Summary, WorkOptions } from "./parent/options.ts";
export { RetryError } from "./shared/causes.ts";
export type { Ended, Failure, FailureKind } from "./shared/counters.ts";
export type { Query } from "./shared/query.ts";

/** Longest pause of the loop, in ms. Each round reads the records and draws the bar. */
const tickMs = 100;
/** The same while a gate holds queries back. A rate limit admits queries in steps of this length. */
const gateTickMs = 20;
/** Time in ms for threads to end by themselves once all queries have ended. Then they are terminated. */
const endMs = 2000;
/** Time in ms for the server and `workerDo()` to end what was interrupted. Then the threads are terminated. */
const killMs = 1500;

/**
 * Runs every query of the queue once, `workers` at a time, and returns when all have ended.
 *
 * A query that fails does not make this throw. The summary lists it.
 *
 * @example
 * ```ts
 * myglobals.config.db = { host: "db1", user: "app", database: "shop" };
 * const summary = await doWork(["UPDATE a SET …", { sql: "DELETE FROM b WHERE id = ?", values: [7] }], 4);
 * process.exitCode = summary.done === summary.total ? 0 : 1;
 * ```
 * @throws RangeError or TypeError for a bad argument, before anything is started.
 * @throws RunError if no worker gets a connection, if the queue's source or a callback throws, or if threads keep dying.
 * If the source throws, the queries that it gave before are run first. A run that `signal` has ended returns its summary.
 */
export function doWork(queue: Source<Query>, workers?: number, options?: WorkOptions): Promise<Summary>;
/** Runs the `workerDo()` of `script` once for each unit of work: any value that `structuredClone` can copy. */
export function doWork<Unit>(
  queue: Source<Unit>,
  workers: number | undefined,
  options: WorkOptions & { script: string | URL },
): Promise<Summary>;
export async function doWork(queue: Source<unknown>, workers = 4, userOptions: WorkOptions = {}): Promise<Summary> {
  const refusal = refuseInWorkerThread("doWork");
  if (refusal) throw new RefusedError(refusal);
  const options = withDefaults(workers, userOptions);
  const { progress, maxFailures, maxWarnings } = options;
  checkSource(queue);
  const run = new Run(workers, options, totalOf(queue, options.shard));
  const { records, gatekeeper, wakeup } = run;
  if (options.dryRun) {
    const [{ showAll }] = await Promise.all([import("./parent/dry-run.ts"), run.begin()]);
    await showAll(queue, options.dryRun, run.sourceContext, run.selection(), options).finally(() => run.endFeatures());
    return run.summary(0);
  }
  const missing = options.script === undefined ? whyNoServer() : undefined; // a script may have its own workerInit()
  if (missing) throw new TypeError(missing);
  const [files] = await Promise.all([startFiles(options.script), run.begin()]);
  const pool = new Pool(run, files);
  run.limitWorkers(pool); // before the threads start to claim
  run.onStop = () => pool.drain(); // at once: no worker claims a query after a callback has heard that the run ends
  run.sessionSetup.onStatement = (statement) => pool.broadcast({ type: "setupStatement", statement });
  const feed = new Feed(queue, run.sourceContext, records, run.selection(), release);
  feed.ended.then(sourceEnded, (error) => run.stop(messageOf(error), error));
  for (const gate of options.gates) gate.attach?.(reevaluateGates);
  const unlisten = listen(options, run, pool);

  // Workers claim queries from shared memory by themselves. This loop only watches.
  for (;;) {
    await wakeup.wait(gatekeeper.isOpen ? tickMs : gateTickMs);
    if (run.stopped) records.skipRest(options.maxWorkers + 1, feed.stop()); // claimed by the parent, as by one more worker
    const givenBack = records.collect();
    if (!run.stopped) for (const segment of givenBack) announce(segment);
    else if (givenBack.length > 0) wakeup.wakeNextTurn(); // the next round skips what workers have just given back
    feed.readOn();
    reevaluateGates();
    const longPause = gatekeeper.pausedTooLong(options.maxPauseSeconds);
    if (longPause !== undefined) run.stop(longPause);
    run.watchUnits(pool);
    run.showProgress(feed, pool);
    if ((feed.isOver || run.stopped) && records.isDrained) break;
    const { failed, unknown, warnings } = records.tally;
    if (failed + unknown >= maxFailures) run.stop(`too many failures: ${failed} failed, ${unknown} unknown`);
    if (warnings >= maxWarnings) run.stop(`too many warnings: ${warnings}`);
  }
  if (feed.failure) run.stop(messageOf(feed.failure.error), feed.failure.error);
  unlisten();
  await pool.end(endMs);
  records.collect(); // again: closing a connection with an open transaction changes outcomes
  await run.endFeatures();
  run.showProgress(feed, pool);
  progress?.stop();
  const summary = run.summary(pool.connected, feed);
  if (run.stopped?.error) throw new RunError(run.stopped.reason, summary, run.stopped.error);
  return summary;

  function sourceEnded(): void {
    if (feed.failure && !records.isDrained) run.log(`${messageOf(feed.failure.error)}: running what was read before`);
    wakeup.wake();
  }

  function release(segment: Segment): void {
    gatekeeper.release(segment);
    announce(segment);
    reevaluateGates();
  }

  function announce(segment: Segment): void {
    for (const thread of pool.threads) records.announce(segment, thread);
  }

  function reevaluateGates(): void {
    run.limitWorkers(pool);
    void run.guard(async () => {
      if (await gatekeeper.advance(() => run.stopped !== undefined)) pool.broadcast({ type: "admitted" });
    });
  }
}

/** Ends the run when one of its signals is aborted. Returns a function that stops listening. */
function listen({ signal, killSignal, script }: WorkOptions, run: Run, pool: Pool): () => void {
  const over = new AbortController();
  onAbort(signal, drain);
  onAbort(killSignal, kill);
  return () => over.abort();

  function onAbort(signal: AbortSignal | undefined, then: () => void): void {
    if (signal?.aborted) then();
    signal?.addEventListener("abort", then, { once: true, signal: over.signal });
  }

  function drain(): void {
    run.stop(typeof signal?.reason === "string" ? signal.reason : "interrupted");
  }

  function kill(): void {
    drain();
    pool.broadcast({ type: "kill" });
    const who = script === undefined ? "the server did not answer" : "neither workerDo() nor the server ended it";
    setTimeout(() => pool.terminate(`${who} when it was interrupted`), killMs).unref();
  }
}
