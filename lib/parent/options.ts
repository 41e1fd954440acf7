/** What `doWork()` takes and gives. */
import { availableParallelism } from "node:os";
import type { ConnectionOptions } from "mysql2";
import { myglobals } from "../myglobals.ts";
import type { Host } from "../mysql/connection.ts";
import type { Ended, Result, WarnedQuery } from "../shared/counters.ts";
import type { Notes } from "../shared/reading.ts";
import type { Outcome } from "../shared/segment.ts";
import type { Progress } from "./progress.ts";
import type { Wait } from "./waits.ts";

/** Where the queries come from: of any length, as fast or slow as it likes. */
export type Source<Unit> = Iterable<Unit> | AsyncIterable<Unit>;

export interface WorkOptions {
  /** Worker threads that carry the workers. @default one a processor, half of them beside a server on this machine, at most one a worker */
  threads?: number | undefined;
  /** URL of a module whose exported `workerInit()` or `workerDo()` replace the default ones. */
  script?: string | URL | undefined;
  /**
   * The servers of a cluster, over which the workers are spread. A worker goes on with the next one when its own is lost, and
   * comes back to it later. @default the one in `myglobals.config.db`
   */
  hosts?: readonly Host[] | undefined;
  /** Shows how far the run is. */
  progress?: Progress | undefined;
  /** Is called in the parent with each query that has ended or is skipped, in no particular order, soon after. */
  onEnded?: ((ended: Ended, unit: unknown) => void) | undefined;
  /** Says what became of a query in an earlier run; it is not run, and counts as what it was. */
  earlier?: ((seq: number, unit: unknown) => Exclude<Outcome, "skipped"> | undefined) | undefined;
  /** The last query that `earlier` knows of, and by what it knows it: nothing is run before the input has come to that query. */
  earlierTo?: { readonly seq: number; readonly by: string } | undefined;
  /** Where `ranges()` and the like keep what they have found, to find the same when the run is resumed. */
  notes?: Notes | undefined;
  /** An earlier run has begun this one: what its connections had set is gone. @default false */
  resumed?: boolean | undefined;
  /** SQL that is run on every connection when it is made, before the session statements at the top of the queue. */
  initCommands?: readonly string[] | undefined;
  /** Runs every `count`-th query only, beginning with the `index`-th (from 1); the seq stays. */
  shard?: { index: number; count: number } | undefined;
  /**
   * Gates may let so many workers claim; those beyond the number of `doWork()` connect when a gate first wants them.
   * @default no more than at the start
   */
  maxWorkers?: number | undefined;
  /** What may hold the queries back: the one that admits the fewest decides. */
  gates?: readonly Gate[] | undefined;
  /** Starts nothing more once gates have held queries back for so long, and have said a reason. @default no limit */
  maxPauseSeconds?: number | undefined;
  /** How often a query is sent again after an error that passes by itself, such as a deadlock. @default 10 */
  retries?: number | undefined;
  /** How long to try to get a connection, at the start and after one was lost. @default 60 */
  connectTimeoutSeconds?: number | undefined;
  /** A query that runs longer is interrupted on the server: its answer decides, mostly `failed`. @default no limit */
  timeoutSeconds?: number | undefined;
  /** Starts nothing more after so many queries of this run have failed or are unknown. @default no limit */
  maxFailures?: number | undefined;
  /** Starts nothing more after so many warnings of this run; the server's notes count. @default no limit */
  maxWarnings?: number | undefined;
  /** Says that running a query twice is harmless: one that may have run is sent again. @default false */
  idempotent?: boolean | undefined;
  /** Starts nothing more once it is aborted: what is in flight ends, the rest is skipped. */
  signal?: AbortSignal | undefined;
  /** Starts nothing more and interrupts what is in flight once it is aborted; the run ends within 2 seconds. */
  killSignal?: AbortSignal | undefined;
  /** Is called with each query instead of running it; nothing is started. `isUnit`: it is for a `script`, and may be no SQL. */
  dryRun?: ((seq: number, unit: unknown, isUnit: boolean) => void | Promise<void>) | undefined;
}

/** Holds queries back. */
export interface Gate {
  /**
   * Returns how many queries the workers may have claimed in all, when `ended` of them have ended. It is asked often.
   *
   * @param workers how many workers may claim a query just now.
   */
  limit(ended: number, workers: number): number;
  /** Is told before queries with a seq up to this one can be claimed; they wait for the promise. */
  admitted?(seq: number): Promise<void>;
  /** Is given, at the start, what has the gates asked at once: to be called when their answers have changed. */
  attach?(askNow: () => void): void;
  /** How many workers may claim a query just now. @default as many as at the start */
  readonly workers?: number | undefined;
  /** Why it holds queries back just now, for the bar. */
  readonly reason?: string | undefined;
}

/** How a run ended. */
export interface Summary extends Result {
  seconds: number;
  /** Queries that ended, skipped ones not counted, per second. */
  perSecond: number;
  /** Workers that got a connection. */
  workers: number;
  threads: number;
  /** With a ledger: queries that committed by themselves, such as DDL, and were recorded after they ran. */
  selfCommitted?: number;
  /** How long some worker, or the ledger's opening, has waited for a server that takes its queries, by the reason. */
  waited?: Wait[];
  /** What a script's own `workerDo()` did is counted: units of work, and no queries. */
  units?: true;
  /** The first ten queries with warnings, if there are any. */
  firstWarned?: WarnedQuery[];
  /** Why the run ended early, if it did. */
  reason?: string;
}

/** The largest numbers that make sense, or that can be. */
export const limits = {
  workers: 100_000, // the most connections that a server can be told to take, `max_connections`
  threads: 1000, // each takes some 10 MB
  retries: 1_000_000, // a query's record counts its tries up to 16 million
  seconds: 2_000_000, // the range of a timer is 2,147,483
} as const;

/**
 * Returns the number of threads that carry the workers by default: one a processor. A server on this machine needs half of
 * the processors for itself. Measured on 2 processors: a second thread then takes 15 % more processor time, and saves none of
 * the wall time. A script's `workerDo()` may compute, and gets all.
 */
function defaultThreads(workers: number, { script, hosts = [] }: WorkOptions): number {
  const servers: readonly ConnectionOptions[] = hosts.length > 0 ? hosts : [myglobals.config?.db ?? {}];
  const isShared = script === undefined && servers.every(isOnThisMachine);
  return Math.min(workers, isShared ? Math.ceil(availableParallelism() / 2) : availableParallelism());
}

function isOnThisMachine({ socketPath, uri, host = "localhost" }: ConnectionOptions): boolean {
  return socketPath !== undefined || (uri === undefined && /^(?:localhost|127\.[\d.]+|::1)$/.test(host));
}

/** The names of the core's options. Those of features are in `features/index.ts`. */
export const ownOptions = [
  ...[
    "threads",
    "script",
    "hosts",
    "progress",
    "onEnded",
    "earlier",
    "earlierTo",
    "notes",
    "resumed",
    "initCommands",
    "shard",
    "maxWorkers",
    "gates",
    "maxPauseSeconds",
  ],
  ...[
    "retries",
    "connectTimeoutSeconds",
    "timeoutSeconds",
    "maxFailures",
    "maxWarnings",
    "idempotent",
    "signal",
    "killSignal",
    "dryRun",
  ],
];

/** The options, with a value for each that has one by default. */
export type CompleteOptions = ReturnType<typeof withDefaults>;

/**
 * The options, with a value for each that has one by default.
 *
 * @throws RangeError for a number that cannot be.
 */
export function withDefaults(workers: number, options: WorkOptions) {
  checkCount("workers", workers, limits.workers);
  const maxWorkers = Math.max(workers, options.maxWorkers ?? 0);
  checkCount("workers", maxWorkers, limits.workers);
  const complete = {
    ...options,
    maxWorkers,
    threads: options.threads ?? defaultThreads(maxWorkers, options),
    retries: options.retries ?? 10,
    maxFailures: options.maxFailures ?? Number.POSITIVE_INFINITY,
    maxWarnings: options.maxWarnings ?? Number.POSITIVE_INFINITY,
    connectTimeoutSeconds: options.connectTimeoutSeconds ?? 60,
    idempotent: options.idempotent ?? false,
    gates: options.gates ?? [],
    maxPauseSeconds: options.maxPauseSeconds ?? Number.POSITIVE_INFINITY,
    hosts: options.hosts ?? [],
    initCommands: options.initCommands ?? [],
  };
  const { threads, timeoutSeconds } = complete;
  checkCount("threads", threads, limits.threads);
  checkNumber("retries", complete.retries, 0, limits.retries);
  checkNumber("maxFailures", complete.maxFailures, 1, Number.POSITIVE_INFINITY);
  checkNumber("maxWarnings", complete.maxWarnings, 1, Number.POSITIVE_INFINITY);
  checkNumber("connectTimeoutSeconds", complete.connectTimeoutSeconds, 0.001, limits.seconds);
  checkNumber("maxPauseSeconds", complete.maxPauseSeconds, 0.001, Number.POSITIVE_INFINITY);
  if (timeoutSeconds !== undefined) checkNumber("timeoutSeconds", timeoutSeconds, 0.001, limits.seconds);
  if (threads > maxWorkers) {
    throw new RangeError(`Cannot start ${threads} threads for ${maxWorkers} workers: at most one thread a worker`);
  }
  return complete;
}

/** @throws RangeError */
export function checkCount(name: string, value: number, most: number): void {
  if (Number.isInteger(value) && value > 0 && value <= most) return;
  throw new RangeError(`Cannot start ${value} ${name}: the number of ${name} must be an integer from 1 to ${most}`);
}

function checkNumber(name: string, value: number, least: number, most: number): void {
  if (value >= least && value <= most) return;
  throw new RangeError(`Cannot take ${value} for ${name}: it must be between ${least} and ${most}`);
}
