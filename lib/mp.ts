/**
 * The parent's side: `doWork()` starts the workers, feeds the queue, watches, and reports.
 *
 * What the Python original does with `multiprocessing.Pool`, `map` with chunk size 1, `close` and `join`.
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

/** How often the loop reads the records and draws the bar, unless something wakes it earlier. */
const tickMs = 100;
/** The same while a gate holds queries back: a rate is kept in steps of this length. */
const gateTickMs = 20;
/** How long threads have to end by themselves, once all is done. */
const endMs = 2000;
/** How long the server and `workerDo()` have to end what was interrupted, before their threads are ended. */
const killMs = 1500;

/**
 * Runs every query of the queue once, `workers` at a time, and returns when all have ended.
 *
 * A query's failure is an entry in the summary.
 *
 * @example
 * ```ts
 * myglobals.config.db = { host: "db1", user: "app", database: "shop" };
 * const summary = await doWork(["UPDATE a SET …", { sql: "DELETE FROM b WHERE id = ?", values: [7] }], 4);
 * process.exitCode = summary.done === summary.total ? 0 : 1;
 * ```
 * @throws RangeError or TypeError for a bad argument, before anything is started.
 * @throws RunError when no worker got a connection, when the queue's source or a callback throws, or when threads do nothing
 * but die. The queries that the source gave before it threw are run first. A run that `signal` has ended returns its summary.
 */
export function doWork(queue: Source<Query>, workers?: number, options?: WorkOptions): Promise<Summary>;
/** With a `script`, a unit of work is what its `workerDo()` takes: any value that `structuredClone` takes. */
export function doWork<Unit>(
  queue: Source<Unit>,
  workers: number | undefined,
  options: WorkOptions & { script: string | URL },
): Promise<Summary>;
export async function doWork(queue: Source<unknown>, workers = 4, userOptions: WorkOptions = {}): Promise<Summary> {
  const refusal = refuseInWorkerThread("doWork");
  if (refusal) throw new RefusedError(refusal);
  const options = withDefaults(workers, userOptions);
  const { progress, signal, killSignal, maxFailures, maxWarnings } = options;
  checkSource(queue);
  const run = new Run(workers, options, totalOf(queue, options.shard));
  const { records, gatekeeper, bell } = run;
  if (options.dryRun) {
    const { showAll } = await import("./parent/dry-run.ts");
    await showAll(queue, options.dryRun, run.reading, options);
    return run.summary(0);
  }
  const missing = options.script === undefined ? whyNoServer() : undefined; // a script may have its own workerInit()
  if (missing) throw new TypeError(missing);
  const [files] = await Promise.all([startFiles(options.script), run.begin()]);
  const pool = new Pool(options.maxWorkers, options.threads, { ...run.settings, ...files }, run.finished, run);
  run.limitWorkers(pool); // before the threads are there
  run.onStop = () => pool.drain(); // at once: nothing more is claimed when others hear that the run ends
  run.prologue.onStatement = (statement) => pool.broadcast({ type: "prologue", statement });
  const feed = new Feed(queue, run.reading, records, run.selection(), release);
  feed.ended.then(sourceEnded, (error) => run.stop(messageOf(error), error));
  for (const gate of options.gates) gate.attach?.(askGates);
  const unlisten = [onAbort(signal, drain), onAbort(killSignal, kill)];

  // The workers take the queries from shared memory by themselves: here it is only watched what becomes of them.
  for (;;) {
    await bell.wait(gatekeeper.isOpen ? tickMs : gateTickMs);
    if (run.stopped) records.skipRest(options.maxWorkers + 1, feed.stop()); // claimed by the parent, as by one worker more
    const givenBack = records.collect();
    if (!run.stopped) for (const segment of givenBack) announce(segment);
    else if (givenBack.length > 0) bell.ringSoon(); // the next round skips what workers have given back meanwhile
    feed.readOn();
    askGates();
    const longPause = gatekeeper.pausedTooLong(options.maxPauseSeconds);
    if (longPause !== undefined) run.stop(longPause);
    run.watchUnits(pool);
    run.showProgress(feed, pool);
    if ((feed.isOver || run.stopped) && records.isAnswered) break;
    const { failed, unknown, warnings } = records.tally;
    if (failed + unknown >= maxFailures) run.stop(`too many failures: ${failed} failed, ${unknown} unknown`);
    if (warnings >= maxWarnings) run.stop(`too many warnings: ${warnings}`);
  }
  if (feed.failure) run.stop(messageOf(feed.failure.error), feed.failure.error);
  for (const stop of unlisten) stop();
  await pool.end(endMs);
  records.collect(); // a connection that was closed with an open transaction has changed outcomes
  await run.endFeatures();
  run.showProgress(feed, pool);
  progress?.stop();
  const summary = run.summary(pool.connected, feed);
  if (run.stopped?.error) throw new RunError(run.stopped.reason, summary, run.stopped.error);
  return summary;

  function sourceEnded(): void {
    if (feed.failure && !records.isAnswered) run.log(`${messageOf(feed.failure.error)}: running what was read before`);
    bell.ring();
  }

  function release(segment: Segment): void {
    gatekeeper.release(segment);
    announce(segment);
    askGates();
  }

  function announce(segment: Segment): void {
    for (const thread of pool.threads) records.announce(segment, thread);
  }

  function askGates(): void {
    run.limitWorkers(pool);
    void run.guard(async () => {
      const isMore = await gatekeeper.advance(
        () => records.tally.ended + records.answered,
        () => run.stopped !== undefined,
      );
      if (isMore) pool.broadcast({ type: "admitted" });
    });
  }

  function drain(): void {
    run.stop(typeof signal?.reason === "string" ? signal.reason : "interrupted");
  }

  function kill(): void {
    drain();
    pool.broadcast({ type: "kill" });
    const who =
      options.script === undefined ? "the server did not answer" : "neither workerDo() nor the server ended it";
    setTimeout(() => pool.terminate(`${who} when it was interrupted`), killMs).unref();
  }
}

function onAbort(signal: AbortSignal | undefined, then: () => void): () => void {
  if (signal?.aborted) then();
  signal?.addEventListener("abort", then, { once: true });
  return () => signal?.removeEventListener("abort", then);
}
