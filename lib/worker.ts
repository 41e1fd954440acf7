/**
 * The worker's side: what a process of the original's Pool did.
 *
 * A thread carries one or several workers. Each calls `workerInit()` once, has one connection of its own, and runs one query
 * at a time: it claims the next one in shared memory, runs it, and writes into the query's record how it ended.
 */
import { parentPort, workerData } from "node:worker_threads";
import type { Connection } from "mysql2";
import { connect, execute } from "./connection.ts";
import { myglobals } from "./myglobals.ts";
import { type Query, Segment } from "./queue.ts";
import { Counters } from "./stats.ts";

/** What a thread gets at its start, as `workerData`. */
export interface ThreadData {
  readonly myglobals: unknown;
  /** The numbers of the workers that this thread carries, counted from 1. */
  readonly workers: readonly number[];
  /** URL of the module whose `workerInit` and `workerDo` replace the default ones. */
  readonly script: string | undefined;
  readonly counters: SharedArrayBuffer;
}

export type ToThread =
  | { readonly type: "segment"; readonly shared: SharedArrayBuffer }
  /** Every query has ended: close the connections and exit. */
  | { readonly type: "end" };

export type FromThread =
  /** `left`: the thread is done with the oldest segment it has. `idle`: a worker has nothing to do. */
  | { readonly type: "connected" | "left" | "idle" }
  | { readonly type: "gone"; readonly error: PlainError }
  | { readonly type: "failed"; readonly seq: number; readonly error: PlainError };

/** An Error loses its class and its `code` on the way between threads: this travels instead. */
export interface PlainError {
  readonly message: string;
  /** The server's, mysql2's or Node's, such as `ER_DUP_ENTRY`; else the class of the error. */
  readonly code: string;
  readonly errno?: number;
}

/** Runs once in each worker, before its first query. What it returns is given to `workerDo()` as the connection. */
export function workerInit(): Promise<Connection> {
  return connect(myglobals.config.db);
}

/**
 * Runs one query.
 *
 * @returns the number of rows it returned or changed.
 */
export function workerDo(query: Query, connection: Connection): Promise<number> {
  return execute(connection, query);
}

interface Script {
  workerInit?: () => unknown;
  workerDo?: (unit: unknown, connection: unknown) => unknown;
}

interface Claim {
  readonly segment: Segment;
  readonly index: number;
}

const data = workerData as ThreadData;
const port = parentPort!;
const counters = new Counters(data.counters);
const segments: Segment[] = [];
let ended = false;
let wakeWaiting: (() => void)[] = [];

port.on("message", (message: ToThread) => {
  if (message.type === "segment") {
    while (segments[0]?.exhausted) leaveSegment(); // when all of the thread's workers are busy with something slow
    segments.push(new Segment(message.shared));
  } else ended = true;
  const waiting = wakeWaiting;
  wakeWaiting = [];
  for (const wake of waiting) wake();
});

const script: Script = data.script === undefined ? {} : await import(data.script);
const init = script.workerInit ?? workerInit;
const perform = script.workerDo ?? (workerDo as (unit: unknown, connection: unknown) => unknown);
await Promise.all(data.workers.map(work));
port.close();

async function work(worker: number): Promise<void> {
  let connection: unknown;
  try {
    connection = await init();
  } catch (error) {
    return post({ type: "gone", error: plain(error) });
  }
  post({ type: "connected" });
  for (;;) {
    const claim = claimNext(worker);
    if (claim) await run(worker, claim, connection);
    else if (ended) break;
    else {
      post({ type: "idle" });
      await new Promise<void>((resolve) => wakeWaiting.push(resolve));
    }
  }
  await (connection as Partial<Connection> | undefined)?.end?.();
}

/** Claims the next query. */
function claimNext(worker: number): Claim | undefined {
  for (let segment = segments[0]; segment; segment = segments[0]) {
    const index = segment.claim(worker);
    if (index >= 0) return { segment, index };
    leaveSegment();
  }
  return undefined;
}

function leaveSegment(): void {
  segments.shift();
  post({ type: "left" });
}

async function run(worker: number, { segment, index }: Claim, connection: unknown): Promise<void> {
  const start = performance.now();
  segment.addTry(index);
  try {
    const rows = await perform(segment.unit(index), connection);
    segment.end(index, "done", performance.now() - start, typeof rows === "number" ? rows : 0);
    counters.add(worker, "done");
  } catch (error) {
    post({ type: "failed", seq: segment.firstSeq + index, error: plain(error) });
    segment.end(index, "failed", performance.now() - start, 0);
    counters.add(worker, "failed");
  }
}

function post(message: FromThread): void {
  port.postMessage(message);
}

function plain(error: unknown): PlainError {
  if (!(error instanceof Error)) return { message: String(error), code: "Error" };
  const { code = error.name, errno } = error as { code?: string; errno?: number };
  return { message: error.message || code, code, ...(errno !== undefined && { errno }) };
}
