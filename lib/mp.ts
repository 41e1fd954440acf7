/**
 * The parent's side: `doWork()` starts the workers, feeds the queue, watches, and reports.
 *
 * What the Python original does with `multiprocessing.Pool`, `map` with chunk size 1, `close` and `join`.
 */
import { availableParallelism } from "node:os";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { Backlog } from "./backlog.ts";
import { findUncloneable, myglobals } from "./myglobals.ts";
import type { Progress, Snapshot } from "./progress.ts";
import { describeUnit, type Outcome, Packer, type Query, type Segment } from "./queue.ts";
import { Counters, type Result, Tally } from "./stats.ts";
import type { FromThread, PlainError, ThreadData, ToThread } from "./worker.ts";

export type { Query } from "./queue.ts";
export type { Failure } from "./stats.ts";

/** Where the queries come from: of any length, as fast or slow as it likes. */
export type Source<Unit> = Iterable<Unit> | AsyncIterable<Unit>;

export interface WorkOptions {
  /** Worker threads that carry the workers. @default one a processor, at most one a worker */
  threads?: number;
  /** URL of a module whose exported `workerInit()` or `workerDo()` replace the default ones. */
  script?: string | URL;
  /** Shows how far the run is. */
  progress?: Progress;
}

/** How a run ended. */
export interface Summary extends Result {
  seconds: number;
  /** Queries that ended, skipped ones not counted, per second. */
  perSecond: number;
  /** Workers that got a connection. */
  workers: number;
  threads: number;
}

/** The run as a whole went wrong, not a query of it. */
export class RunError extends Error {
  /** How far it came. */
  readonly summary: Summary;

  constructor(message: string, summary: Summary) {
    super(message);
    this.name = "RunError";
    this.summary = summary;
  }
}

/** Segments kept ready beyond the one that is being worked on. */
const segmentsAhead = 2;
/** How often the records are read and the bar is drawn, when nothing else makes it necessary. */
const tickMs = 100;
/** How long the source of the queries may keep this thread busy before others get their turn. */
const busyMs = 10;

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
 * @throws RunError when no worker got a connection, or when the queue's source throws.
 */
export function doWork(queue: Source<Query>, workers?: number, options?: WorkOptions): Promise<Summary>;
/** With a `script`, a unit of work is what its `workerDo()` takes: any value that `structuredClone` takes. */
export function doWork<Unit>(
  queue: Source<Unit>,
  workers: number | undefined,
  options: WorkOptions & { script: string | URL },
): Promise<Summary>;
export async function doWork(queue: Source<unknown>, workers = 4, options: WorkOptions = {}): Promise<Summary> {
  checkCount("workers", workers);
  const { threads = Math.min(workers, availableParallelism()), script, progress } = options;
  checkCount("threads", threads);
  if (threads > workers) {
    throw new RangeError(`Cannot start ${threads} threads for ${workers} workers: at most one thread a worker`);
  }

  const startedAt = performance.now();
  const counters = new Counters(workers);
  const tally = new Tally();
  const backlog = new Backlog<Worker>();
  const packer = new Packer();
  const errors = new Map<number, PlainError>(); // of failed queries, by seq, until their records are read
  const pool = new Map<Worker, Promise<unknown>>();
  let total = lengthOf(queue);
  let released = 0;
  let sourceEnded = false;
  let connected = 0;
  let gone = 0;
  let problem: string | undefined;
  let wakeFeed = () => {};
  let finish = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });

  for (let thread = 0; thread < threads; thread++) startThread(thread);
  const timer = setInterval(look, tickMs);
  feed().catch((error) => stop(`Cannot read the queue: ${error instanceof Error ? error.message : error}`));
  await finished;
  clearInterval(timer);
  for (const thread of pool.keys()) send(thread, { type: "end" });
  await Promise.all(pool.values());
  progress?.stop();
  if (problem !== undefined) throw new RunError(problem, summary());
  return summary();

  function startThread(thread: number): void {
    const data: ThreadData = {
      myglobals,
      workers: Array.from({ length: workers }, (_, index) => index + 1).filter((worker) => worker % threads === thread),
      script: script === undefined ? undefined : String(script),
      counters: counters.shared,
    };
    const worker = spawn(data);
    worker.on("message", (message: FromThread) => receive(worker, message));
    pool.set(worker, new Promise((resolve) => worker.once("exit", resolve)));
  }

  function receive(worker: Worker, message: FromThread): void {
    if (message.type === "connected") connected++;
    else if (message.type === "left") backlog.leave(worker);
    else if (message.type === "failed") errors.set(message.seq, message.error);
    else if (message.type === "gone" && ++gone === workers) stop(message.error.message);
    look();
  }

  /** Puts the queries into segments, a few ahead of the workers. */
  async function feed(): Promise<void> {
    let turnAt = performance.now();
    for await (const unit of queue) {
      if (problem !== undefined) return;
      packer.add(unit);
      // What a slow source has yielded by the end of this turn of the event loop does not wait for more.
      if (packer.size === 1) setImmediate(look);
      if (packer.full) {
        while (backlog.ahead >= segmentsAhead && problem === undefined) {
          await new Promise<void>((resolve) => {
            wakeFeed = resolve;
          });
        }
        release();
      }
      if (performance.now() - turnAt > busyMs) {
        await nextTurn();
        turnAt = performance.now();
      }
    }
    release();
    total = released;
    sourceEnded = true;
    look();
  }

  function release(): void {
    if (packer.size === 0 || problem !== undefined) return;
    const segment = packer.seal(backlog.takeSpare());
    released += segment.count;
    backlog.add(segment, pool.keys());
    for (const thread of pool.keys()) send(thread, { type: "segment", shared: segment.shared });
  }

  /** Reads the records, and does what they make necessary. */
  function look(): void {
    backlog.collect(collect);
    const { ahead } = backlog;
    if (ahead === 0) release();
    if (ahead < segmentsAhead) wakeFeed();
    progress?.update(snapshot());
    if (backlog.empty && (sourceEnded || problem !== undefined)) finish();
  }

  function collect(segment: Segment, index: number, outcome: Outcome): boolean {
    const seq = segment.firstSeq + index;
    const error = errors.get(seq);
    if (outcome === "failed" && !error) return false; // its message is on the way
    errors.delete(seq);
    const failure = error && { sql: describeUnit(segment.unit(index)), ...error };
    tally.add({ seq, outcome, ...segment.record(index), failure });
    return true;
  }

  /** Ends the run early: what is in flight ends, the rest is skipped. */
  function stop(why: string): void {
    if (problem !== undefined) return;
    problem = why;
    if (packer.size > 0) backlog.add(packer.seal(), []);
    backlog.skipRest(workers + 1);
    wakeFeed();
    look();
  }

  function snapshot(): Snapshot {
    const { done, failed, unknown } = counters.read();
    return { ended: done + failed + unknown, failed: failed + unknown, total };
  }

  function summary(): Summary {
    tally.skip((total ?? 0) - Math.min(total ?? 0, tally.result().total)); // never taken from the queue
    const result = tally.result();
    const seconds = (performance.now() - startedAt) / 1000;
    const perSecond = (result.total - result.skipped) / seconds;
    return { ...result, seconds, perSecond, workers: connected, threads };
  }
}

/** @throws TypeError for a value in `myglobals` that cannot travel. */
function spawn(workerData: ThreadData): Worker {
  try {
    return new Worker(new URL("./boot.js", import.meta.url), { workerData, execArgv: [] });
  } catch (error) {
    const found = findUncloneable(myglobals);
    throw found === undefined ? error : new TypeError(`${found}: set it in workerInit()`, { cause: error });
  }
}

function send(thread: Worker, message: ToThread): void {
  thread.postMessage(message);
}

function checkCount(name: string, value: number): void {
  if (Number.isInteger(value) && value > 0) return;
  throw new RangeError(`Cannot start ${value} ${name}: the number of ${name} must be a positive integer`);
}

function lengthOf(queue: Source<unknown>): number | undefined {
  const { length, size } = queue as { length?: unknown; size?: unknown };
  return typeof length === "number" ? length : typeof size === "number" ? size : undefined;
}
