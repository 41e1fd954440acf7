/**
 * The parent's side: `doWork()` starts the workers, feeds the queue, watches, and reports.
 *
 * What the Python original does with `multiprocessing.Pool`, `map` with chunk size 1, `close` and `join`.
 */
import { Admission } from "./admission.ts";
import { Backlog } from "./backlog.ts";
import { checkSource, lengthOf, startFeed } from "./feed.ts";
import { myglobals } from "./myglobals.ts";
import { type Source, type Summary, type WorkOptions, withDefaults } from "./options.ts";
import { Pool, type Thread } from "./pool.ts";
import type { InFlight, Snapshot } from "./progress.ts";
import type { Segment } from "./queue.ts";
import { Results } from "./results.ts";
import { keepsTransaction } from "./statement.ts";
import { Counters } from "./stats.ts";
import type { FromThread } from "./thread.ts";
import { checkQuery, type Query } from "./unit.ts";

export type { Host } from "./connection.ts";
export type { Gate, Source, Summary, WorkOptions } from "./options.ts";
export type { Ended, Failure } from "./stats.ts";
export type { Query } from "./unit.ts";

/** The run as a whole went wrong, not a query of it. */
export class RunError extends Error {
  /** How far it came. */
  readonly summary: Summary;

  constructor(message: string, summary: Summary, cause?: unknown) {
    super(message, { cause });
    this.name = "RunError";
    this.summary = summary;
  }
}

/** What the run was given is not right, such as an input that has changed: the cause of a RunError. */
export class RefusedError extends Error {}

/** How often the records are read and the bar is drawn, when nothing else makes it necessary. */
const tickMs = 100;
/** The same, while something may hold queries back: what is admitted evenly is admitted in such steps. */
const gateTickMs = 20;
/** How long threads have to end by themselves, once all is done. */
const endMs = 2000;
/** The same, for queries that were interrupted. */
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
 * @throws RunError when no worker got a connection, when the queue's source throws, or when threads do nothing but die.
 */
export function doWork(queue: Source<Query>, workers?: number, options?: WorkOptions): Promise<Summary>;
/** With a `script`, a unit of work is what its `workerDo()` takes: any value that `structuredClone` takes. */
export function doWork<Unit>(
  queue: Source<Unit>,
  workers: number | undefined,
  options: WorkOptions & { script: string | URL },
): Promise<Summary>;
export async function doWork(queue: Source<unknown>, workers = 4, given: WorkOptions = {}): Promise<Summary> {
  const options = withDefaults(workers, given);
  const { threads, script, progress, idempotent, timeoutSeconds, ledger, shard, gates, hosts } = options;
  checkSource(queue);
  const startedAt = performance.now();
  const counters = new Counters(workers);
  const backlog = new Backlog<Thread>();
  const admission = new Admission(gates, backlog);
  const results = new Results(options.onEnded, (error) => stop(messageOf(error), error));
  const { tally } = results;
  const rowsOnTheWay = new Set<Promise<void>>();
  const length = lengthOf(queue);
  let sourceEnded = false;
  let ended: { reason: string; error: unknown } | undefined; // early
  let looking: NodeJS.Immediate | undefined;
  let finish = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });

  if (options.dryRun) {
    let seq = 0;
    for await (const unit of queue) {
      if (options.signal?.aborted) break;
      if (isOurs(++seq)) await options.dryRun(seq, unit);
    }
    return summary(0);
  }
  const table = ledger === undefined ? undefined : await openTable(ledger);
  const pool = new Pool(
    workers,
    threads,
    {
      myglobals,
      script: script === undefined ? undefined : String(script),
      counters: counters.shared,
      hosts: hosts.map(({ host, port }) => ({ host, port })),
      retries: options.retries,
      connectTimeoutMs: options.connectTimeoutSeconds * 1000,
      timeoutMs: timeoutSeconds === undefined ? undefined : timeoutSeconds * 1000,
      idempotent,
      maxFailures: options.maxFailures,
      rows: options.onRows !== undefined,
      batch: options.batch,
      ledger: table,
    },
    () => counters.read().done + counters.read().failed,
    {
      started(thread) {
        for (const segment of backlog.open) announce(segment, thread);
      },
      message: receive,
      died: bury,
      hopeless: stop,
      log: (line) => progress?.log(line),
    },
  );
  const timer = setInterval(look, gates.length > 0 ? gateTickMs : tickMs);
  const drain = () => stop(typeof options.signal?.reason === "string" ? options.signal.reason : "interrupted");
  const kill = () => {
    drain();
    pool.broadcast({ type: "kill" });
    setTimeout(() => pool.terminate("the server did not answer when it was interrupted"), killMs).unref();
  };
  const feed = startFeed(queue, {
    ahead: () => backlog.open.length,
    select,
    release,
    takeSpare: () => backlog.takeSpare(),
  });
  feed.ended.then(
    () => {
      if (ended) return; // it was stopped before
      sourceEnded = true;
      look();
    },
    (error) => stop(messageOf(error), error),
  );
  onAbort(options.signal, drain);
  onAbort(options.killSignal, kill);
  await finished;
  clearInterval(timer);
  options.signal?.removeEventListener("abort", drain);
  options.killSignal?.removeEventListener("abort", kill);
  await pool.end(endMs);
  await Promise.all(rowsOnTheWay);
  clearImmediate(looking);
  progress?.update(snapshot());
  progress?.stop();
  if (ended?.error) throw new RunError(ended.reason, summary(pool.connected), ended.error);
  return summary(pool.connected);

  function announce(segment: Segment, thread: Thread): void {
    backlog.hold(segment, thread);
    thread.send({ type: "segment", shared: segment.shared });
  }

  function receive(thread: Thread, message: FromThread): void {
    if (message.type === "rows") takeRows(thread, message.lines);
    else if (message.type === "left") backlog.leave(message.id, thread);
    else if (message.type === "refused") stop(message.reason, new RefusedError(message.reason));
    else if (message.type === "broken") {
      if (ended) progress?.log(message.reason); // it is worth knowing, whatever else ends the run
      stop(message.reason, new Error(message.reason));
    } else if (message.type === "error") results.explain(message.seq, message.error);
    // At once where workers may be out of queries: the source may keep this thread busy again before the next turn is over.
    if (message.type === "error") lookSoon();
    else if (message.type !== "set") look();
  }

  function takeRows(thread: Thread, lines: Uint8Array): void {
    const { length: bytes } = lines; // it may be transferred away
    const taking = (async () => options.onRows?.(lines))()
      .catch((error) => stop(`Cannot take the rows: ${messageOf(error)}`, error))
      .then(() => {
        thread.send({ type: "taken", bytes });
        rowsOnTheWay.delete(taking);
      });
    rowsOnTheWay.add(taking);
  }

  async function openTable(name: string): Promise<string> {
    const { openLedger } = await import("./ledger-table.ts"); // it brings mysql2
    const log = (line: string) => progress?.log(line);
    try {
      return await openLedger(name, myglobals.config.db, {
        hosts,
        connectTimeoutMs: options.connectTimeoutSeconds * 1000,
        signal: options.signal,
        log,
      });
    } catch (error) {
      throw new RunError(messageOf(error), summary(0), error);
    }
  }

  function bury(thread: Thread, cause: string): void {
    const isDecided = (unit: unknown) => table !== undefined && keepsTransaction(unit); // by the ledger
    const canRunAgain = (unit: unknown) => !ended && (idempotent || isDecided(unit));
    counters.add(0, "unknown", results.bury(thread, cause, backlog, canRunAgain));
    look();
  }

  function isOurs(seq: number): boolean {
    return !shard || (seq - shard.index) % shard.count === 0;
  }

  function select(seq: number, unit: unknown): boolean {
    if (!isOurs(seq)) return false;
    if (script === undefined) checkQuery(seq, unit);
    const outcome = options.earlier?.(seq, unit);
    if (outcome === undefined) return true;
    tally.addEarlier(outcome);
    counters.add(0, outcome);
    return false;
  }

  function release(segment: Segment): void {
    admission.release(segment);
    for (const thread of pool.threads) announce(segment, thread);
    admit();
  }

  function admit(): void {
    admission
      .advance(tally.ended, () => ended !== undefined)
      .then(
        (isMore) => isMore && pool.broadcast({ type: "admitted" }),
        (error) => stop(messageOf(error), error),
      );
  }

  /** Once for all that come in a turn: thousands may fail at a time. */
  function lookSoon(): void {
    looking ??= setImmediate(look);
  }

  /** Reads the records, and does what they make necessary. */
  function look(): void {
    clearImmediate(looking);
    looking = undefined;
    const again = backlog.collect((segment, index, outcome) => results.collect(segment, index, outcome));
    if (!ended) for (const segment of again) for (const thread of pool.threads) announce(segment, thread);
    else if (again.length > 0) skipRest(); // what a worker has given back meanwhile
    feed.poke();
    admit();
    const { failed, unknown } = tally;
    const isOver = backlog.empty && (sourceEnded || ended);
    if (!isOver && failed + unknown >= options.maxFailures) {
      stop(`too many failures: ${failed} failed, ${unknown} unknown`);
    }
    progress?.update(snapshot());
    if (isOver) finish();
  }

  /** Ends the run early: what is in flight ends, the rest is skipped. */
  function stop(reason: string, error?: unknown): void {
    if (ended) return;
    ended = { reason, error };
    const unreleased = feed.stop();
    if (unreleased) backlog.add(unreleased);
    pool.retire();
    pool.broadcast({ type: "drain" });
    skipRest();
  }

  function skipRest(): void {
    backlog.skipRest(workers + 1, (seq) => {
      counters.add(0, "unknown");
      const message = "It may have run: its thread or its connection was lost, and the run ends";
      results.explain(seq, { code: "RUN_ENDED", message });
    });
    lookSoon(); // not at once: it may be looking just now
  }

  function snapshot(): Snapshot {
    const { done, failed, unknown } = counters.read();
    const total = totalNow();
    const held = ended ? "ending" : admission.reason;
    return {
      ended: done + failed + unknown,
      earlier: tally.earlier,
      failed,
      unknown,
      total,
      held,
      inFlight,
    };
  }

  function inFlight(): InFlight[] {
    const claimed = [...backlog.claimed()].filter(({ outcome }) => outcome === undefined);
    return claimed.map(({ segment, index, worker }) => {
      const { start, tries } = segment.record(index);
      const seconds = (Date.now() - start) / 1000;
      return {
        worker,
        thread: pool.slotOf(worker),
        seq: segment.seq(index),
        seconds,
        tries,
        unit: segment.unit(index),
      };
    });
  }

  /** How many queries there are to run, those of an earlier run counted; unknown while a stream has not ended. */
  function totalNow(): number | undefined {
    if (sourceEnded) return backlog.released + tally.earlier;
    if (length === undefined) return undefined;
    return shard ? Math.ceil((length - shard.index + 1) / shard.count) : length;
  }

  function summary(connected: number): Summary {
    const { total: known, ...result } = tally.result();
    const total = Math.max(known, totalNow() ?? 0); // some were never taken from the queue
    const seconds = (performance.now() - startedAt) / 1000;
    return {
      total,
      ...result,
      skipped: result.skipped + total - known,
      seconds,
      perSecond: (tally.ended - result.skipped) / seconds,
      workers: connected,
      threads,
      ...(ledger !== undefined && { selfCommitted: counters.read().selfCommitted }),
      ...(ended && {
        reason: length === undefined && !sourceEnded ? `${ended.reason}; not all queries were read` : ended.reason,
      }),
    };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function onAbort(signal: AbortSignal | undefined, then: () => void): void {
  if (signal?.aborted) then();
  else signal?.addEventListener("abort", then, { once: true });
}
