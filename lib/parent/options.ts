/** Options and result of `doWork()`. */
import { availableParallelism } from "node:os";
import { inspect } from "node:util";
import type { ConnectionOptions } from "mysql2";
import { myglobals } from "../myglobals.ts";
import type { Host } from "../mysql/connection.ts";
import type { Ended, Result, WarnedQuery } from "../shared/counters.ts";
import type { Outcome } from "../shared/segment.ts";
import type { Checkpoints } from "../shared/source-context.ts";
import type { Progress } from "./progress.ts";

/** Source of the queries. It may have any length and any speed. */
export type Source<Unit> = Iterable<Unit> | AsyncIterable<Unit>;

export interface WorkOptions {
  /**
   * Worker threads that carry the workers.
   * @default one per processor, half of them if the server is on this machine and there is no `script`, at most one per worker
   */
  threads?: number | undefined;
  /** URL of a module. The `workerInit()` or `workerDo()` that it exports replace the default ones. */
  script?: string | URL | undefined;
  /**
   * Servers of a cluster. The workers are spread over them. A worker that loses its own server moves to the next one, and comes
   * back later. @default the one in `myglobals.config.db`
   */
  hosts?: readonly Host[] | undefined;
  /** Shows the progress of the run. */
  progress?: Progress | undefined;
  /** Callback in the parent, soon after a query has ended or was skipped. The order of the queries is not defined. */
  onEnded?: ((ended: Ended, unit: unknown) => void) | undefined;
  /**
   * Returns the outcome of a query in an earlier run, if it has one. Such a query does not run, and counts with that outcome.
   * `isUnit` is true with a `script`.
   */
  earlier?: ((seq: number, unit: unknown, isUnit: boolean) => Exclude<Outcome, "skipped"> | undefined) | undefined;
  /** The last query that `earlier` knows of, and the name of its source. No query runs before the input has reached that one. */
  earlierTo?: { readonly seq: number; readonly by: string } | undefined;
  /** Storage for the checkpoints of `ranges()`. A resumed run reads them, and makes the same queries again. */
  checkpoints?: Checkpoints | undefined;
  /** @deprecated Old name of `checkpoints`. */
  notes?: Checkpoints | undefined;
  /** True if an earlier run has begun these queries. What was set on its connections is lost. @default false */
  resumed?: boolean | undefined;
  /** SQL that runs on every new connection, before the session statements at the top of the queue. */
  initCommands?: readonly string[] | undefined;
  /**
   * Runs every `count`-th query only, from the `index`-th on (counted from 1). Each query keeps its seq. If queries have keys, the
   * hash of the key decides.
   */
  shard?: { index: number; count: number } | undefined;
  /**
   * The most workers that gates may let claim queries. Those beyond the `workers` of `doWork()` connect when a gate first wants
   * them. @default `workers`
   */
  maxWorkers?: number | undefined;
  /** Gates that may hold queries back. The lowest limit applies. */
  gates?: readonly Gate[] | undefined;
  /** Seconds for which gates with a `reason` may hold queries back. After that no further query starts. @default no limit */
  maxPauseSeconds?: number | undefined;
  /** Most retries of a query after a transient error, such as a deadlock. @default 10 */
  retries?: number | undefined;
  /** Seconds for which a worker tries to connect, at the start and after a connection was lost. @default 60 */
  connectTimeoutSeconds?: number | undefined;
  /** Seconds after which a query is interrupted. The server's answer decides its outcome, mostly `failed`. @default no limit */
  timeoutSeconds?: number | undefined;
  /** Failed and unknown queries of this run after which no further query starts. @default no limit */
  maxFailures?: number | undefined;
  /** Warnings of this run after which no further query starts. The server's notes count. @default no limit */
  maxWarnings?: number | undefined;
  /** True if running a query twice is harmless. A query that may have run is then sent again. @default false */
  idempotent?: boolean | undefined;
  /** Ends the run early once it is aborted. Queries in flight end, the rest is skipped. */
  signal?: AbortSignal | undefined;
  /** Ends the run within 2 seconds once it is aborted. Queries in flight are interrupted, the rest is skipped. */
  killSignal?: AbortSignal | undefined;
  /** Callback for each query instead of running it. No thread starts. `isUnit` is true with a `script`: the unit may be no SQL. */
  dryRun?: ((seq: number, unit: unknown, isUnit: boolean) => void | Promise<void>) | undefined;
}

/** A limit on the queries that the workers may claim. */
export interface Gate {
  /**
   * Returns how many queries the workers may have claimed in all, when `ended` of them have ended. It is called often.
   *
   * @param workers number of workers that may claim a query now.
   */
  limit(ended: number, workers: number): number;
  /** Is called before queries with a seq up to this one can be claimed. They wait for the promise. */
  admitted?(seq: number): Promise<void>;
  /** Receives a callback at the start of the run. Call it when the gate's answers have changed: it asks all gates at once. */
  attach?(notify: () => void): void;
  /** Number of workers that may claim a query now. @default the number at the start */
  readonly workers?: number | undefined;
  /** Reason for holding queries back now, for the bar. */
  readonly reason?: string | undefined;
}

/** Result of a run. */
export interface Summary extends Result {
  seconds: number;
  /** Ended queries per second, without skipped ones. */
  perSecond: number;
  /** Workers that got a connection. */
  workers: number;
  threads: number;
  /** Time in which a worker, or the opening of the ledger, waited for a server that takes its queries, by reason. */
  waited?: { seconds: number; reason: string }[];
  /** Set if the counts are units of work of a script's own `workerDo()`, not queries. */
  units?: true;
  /** The first ten queries with warnings, if there are any. */
  firstWarned?: WarnedQuery[];
  /** Reason of an early end. Missing if the run was complete. */
  reason?: string;
}

/** Largest allowed values. */
export const limits = {
  workers: 100_000, // the largest `max_connections` of a server
  threads: 1000, // each takes some 10 MB
  retries: 1_000_000, // a query's record counts its tries up to 16 million
  seconds: 2_000_000, // the range of a timer is 2,147,483
} as const;

/**
 * Returns the default number of threads, one per processor. A server on this machine needs half of the processors itself.
 * Measured on 2 processors: a second thread then takes 15 % more processor time, and saves no wall time. A script's `workerDo()`
 * may compute, and gets all processors.
 */
function defaultThreads(workers: number, { script, hosts = [] }: WorkOptions): number {
  const servers: readonly ConnectionOptions[] = hosts.length > 0 ? hosts : [myglobals.config?.db ?? {}];
  const isShared = script === undefined && servers.every(isOnThisMachine);
  return Math.min(workers, isShared ? Math.ceil(availableParallelism() / 2) : availableParallelism());
}

function isOnThisMachine({ socketPath, uri, host = "localhost" }: ConnectionOptions): boolean {
  return socketPath !== undefined || (uri === undefined && /^(?:localhost|127\.[\d.]+|::1)$/.test(host));
}

/** Names of the core's options. Those of features are in `features/index.ts`. */
export const ownOptions =
  `threads script hosts progress onEnded earlier earlierTo checkpoints notes resumed initCommands shard
  maxWorkers gates maxPauseSeconds retries connectTimeoutSeconds timeoutSeconds maxFailures maxWarnings idempotent signal
  killSignal dryRun`.split(/\s+/);

/** The options with all defaults filled in. */
export type CompleteOptions = ReturnType<typeof withDefaults>;

/**
 * Fills in the defaults of the options.
 *
 * @throws RangeError for a number outside its range, TypeError for options or a script of the wrong type.
 */
export function withDefaults(workers: number, options: WorkOptions) {
  if (typeof options !== "object" || options === null)
    throw new TypeError(
      `Cannot take ${inspect(options)} for the options: write { ...options, script: import.meta.url }`,
    );
  const { script } = options;
  const isUrl = script instanceof URL || (typeof script === "string" && /^(?:\w+:|\/)/.test(script)); // or an absolute path
  if (script !== undefined && !isUrl)
    throw new TypeError(
      `Cannot take ${inspect(script, { depth: 0 })} for script: it must be a URL, such as import.meta.url`,
    );
  checkCount("workers", workers, limits.workers);
  const maxWorkers = Math.max(workers, options.maxWorkers ?? 0);
  checkCount("workers", maxWorkers, limits.workers);
  const complete = {
    ...options,
    maxWorkers,
    checkpoints: options.checkpoints ?? options.notes,
    threads: options.threads ?? defaultThreads(maxWorkers, options),
    retries: options.retries ?? 10,
    maxFailures: options.maxFailures ?? Number.POSITIVE_INFINITY,
    maxWarnings: options.maxWarnings ?? Number.POSITIVE_INFINITY,
    connectTimeoutSeconds: options.connectTimeoutSeconds ?? 60,
    idempotent: options.idempotent ?? false,
    gates: options.gates ?? [],
    maxPauseSeconds: options.maxPauseSeconds ?? Number.POSITIVE_INFINITY,
    hosts: (options.hosts ?? []).map(({ host, port }) => ({ host, port })), // without what else the caller keeps in them
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
