/**
 * The worker's side: what a process of the original's Pool did.
 *
 * A thread carries one or several workers. Each calls `workerInit()` once, has one connection of its own, and runs one query
 * at a time: it claims the next one in shared memory, runs it, and writes into the query's record how it ended.
 */
import { parentPort, workerData } from "node:worker_threads";
import type { Connection } from "mysql2";
import { close, connect, connectionIn, execute, interrupt, type RowSink } from "./connection.ts";
import { myglobals } from "./myglobals.ts";
import { backoffMs, type DatabaseError, isLost, passes, verdictOf } from "./outcome.ts";
import { type Outcome, type Query, Segment } from "./queue.ts";
import { exactValues, rowEncoder } from "./rows.ts";
import { Counters } from "./stats.ts";

/** What a thread gets at its start, as `workerData`. */
export interface ThreadData {
  readonly myglobals: unknown;
  /** The numbers of the workers that this thread carries, counted from 1. */
  readonly workers: readonly number[];
  /** URL of the module whose `workerInit` and `workerDo` replace the default ones. */
  readonly script: string | undefined;
  readonly counters: SharedArrayBuffer;
  readonly retries: number;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number | undefined;
  readonly idempotent: boolean;
  /** Whether the parent wants the rows. */
  readonly rows: boolean;
}

export type ToThread =
  | { readonly type: "segment"; readonly shared: SharedArrayBuffer }
  /** The parent has taken so many bytes of the thread's rows. */
  | { readonly type: "taken"; readonly bytes: number }
  /** `drain`: start nothing more. `kill`: interrupt what is in flight. `end`: all is done, close the connections. */
  | { readonly type: "drain" | "kill" | "end" };

export type FromThread =
  /** The thread will not look again into the segment that begins with this query. */
  | { readonly type: "left"; readonly firstSeq: number }
  /** `idle`: the worker found nothing to claim. `waiting`, `gone`: it tries to connect again, or has given up. */
  | { readonly type: "connected" | "idle"; readonly worker: number }
  | { readonly type: "waiting" | "gone"; readonly worker: number; readonly error: PlainError }
  /** Whole lines of NDJSON. */
  | { readonly type: "rows"; readonly lines: Uint8Array }
  | { readonly type: "error"; readonly seq: number; readonly error: PlainError };

/** An Error loses its class and its `code` on the way between threads: this travels instead. */
export interface PlainError {
  readonly message: string;
  /** The server's, mysql2's or Node's, such as `ER_DUP_ENTRY`; else the class of the error. */
  readonly code: string;
  readonly errno?: number;
}

/** Runs once in each worker, before its first query. What it returns is given to `workerDo()` as the connection. */
export function workerInit(): Promise<Connection> {
  return connect(data.rows ? { ...myglobals.config.db, ...exactValues } : myglobals.config.db);
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

/** Rows are sent in pieces of about so many characters, and at the end of each query. */
const rowsLength = 1 << 16;
/** Bytes of rows that may be on their way to a parent that takes them slowly; then the queries wait. */
const rowsOnTheWay = 1 << 20;

/** How long a server may take to answer `KILL QUERY`, before the connection is given up. */
const killGraceMs = 5000;

const data = workerData as ThreadData;
const port = parentPort!;
const counters = new Counters(data.counters);
const segments: Segment[] = [];
const inFlight = new Map<number, Connection>(); // by worker
const full = new Set<Connection>(); // paused until the parent has taken some rows
let rowLines = "";
let bytesUntaken = 0;
let draining = false;
let ended = false;
const wakers: (() => void)[] = [];
const pausing = new Set<() => void>();

port.on("message", (message: ToThread) => {
  if (message.type === "segment") {
    while (segments[0]?.exhausted) leaveSegment(); // when all of the thread's workers are busy with something slow
    segments.push(new Segment(message.shared));
  } else if (message.type === "taken") {
    bytesUntaken -= message.bytes;
    for (const connection of full) connection.resume();
    full.clear();
  } else if (message.type === "kill") interrupt([...inFlight.values()], killGraceMs);
  else {
    draining = true;
    ended = message.type === "end";
    for (const go of pausing) go();
  }
  for (const wake of wakers.splice(0)) wake();
});

const script: Script = data.script === undefined ? {} : await import(data.script);
const init = script.workerInit ?? workerInit;
const perform = script.workerDo ?? (workerDo as (unit: unknown, connection: unknown) => unknown);
await Promise.all(data.workers.map(work));
port.close();

async function work(worker: number): Promise<void> {
  let session = await open(worker);
  while (session) {
    while (bytesUntaken >= rowsOnTheWay) await news();
    const claim = claimNext(worker);
    if (claim) session = await run(worker, claim, session);
    else if (ended) break;
    else {
      post({ type: "idle", worker });
      await news();
    }
  }
  const connection = connectionIn(session?.connection);
  if (connection) await close(connection);
}

/** Calls `workerInit()`, again and again while the reason for its failing may pass; `undefined` when it gave up. */
async function open(worker: number): Promise<{ connection: unknown } | undefined> {
  const deadline = performance.now() + data.connectTimeoutMs;
  for (let tries = 1; !draining; tries++) {
    try {
      const connection = await init();
      post({ type: "connected", worker });
      return { connection };
    } catch (cause) {
      const error = plain(cause);
      const waitMs = backoffMs(tries);
      if (!passes(cause as DatabaseError) || performance.now() + waitMs > deadline) {
        post({ type: "gone", worker, error });
        return undefined;
      }
      if (tries === 1) post({ type: "waiting", worker, error });
      await pause(waitMs);
    }
  }
  return undefined;
}

/** Claims the next query. */
function claimNext(worker: number): { segment: Segment; index: number } | undefined {
  for (let segment = segments[0]; segment; segment = segments[0]) {
    const index = segment.claim(worker);
    if (index >= 0) return { segment, index };
    leaveSegment();
  }
  return undefined;
}

function leaveSegment(): void {
  const left = segments.shift();
  if (left) post({ type: "left", firstSeq: left.firstSeq });
}

/** Runs one query to its outcome; returns the connection to go on with, or `undefined` when there is none to be had. */
async function run(
  worker: number,
  { segment, index }: { segment: Segment; index: number },
  opened: { connection: unknown },
): Promise<{ connection: unknown } | undefined> {
  const start = performance.now();
  const seq = segment.firstSeq + index;
  const output = { rows: 0 };
  let session: { connection: unknown } | undefined = opened;
  for (let tries = 1; session; tries++) {
    segment.addTry(index);
    try {
      const rows = await attempt(worker, seq, segment.unit(index), session.connection, output);
      sendRows();
      end("done", typeof rows === "number" ? rows : 0);
      return session;
    } catch (cause) {
      const error = cause as DatabaseError;
      const connection = connectionIn(session.connection);
      if (isLost(error)) {
        connection?.destroy();
        session = undefined;
      } else if (connection && script.workerDo) await execute(connection, "ROLLBACK").catch(() => {}); // what it left open
      let verdict = verdictOf(error);
      if (output.rows > 0)
        verdict = verdict === "unknown" ? "unknown" : "failed"; // its rows would come twice
      else if (verdict === "unknown" && data.idempotent) verdict = "reconnect";
      if (verdict === "failed" || verdict === "unknown" || tries > data.retries) {
        post({ type: "error", seq, error: plain(cause) });
        end(verdict === "unknown" ? "unknown" : "failed", 0);
        return session ?? open(worker);
      }
      if (verdict === "retry") await pause(backoffMs(tries));
      if (draining) break;
      session ??= await open(worker);
      counters.add(worker, "retries");
    }
  }
  end("skipped", 0); // it is known not to have been applied, and the run ends before it could be tried again
  return session;

  function end(outcome: Outcome, rows: number): void {
    segment.end(index, outcome, performance.now() - start, rows);
    if (outcome !== "skipped") counters.add(worker, outcome);
  }
}

/** Runs one query once, within the time limit if there is one. */
async function attempt(
  worker: number,
  seq: number,
  unit: unknown,
  session: unknown,
  output: { rows: number },
): Promise<unknown> {
  const connection = connectionIn(session);
  if (connection) inFlight.set(worker, connection);
  let interrupting: Promise<void> | undefined;
  const timer =
    connection &&
    data.timeoutMs &&
    setTimeout(() => {
      interrupting = interrupt([connection], killGraceMs);
    }, data.timeoutMs);
  try {
    if (data.rows && connection && !script.workerDo) {
      return await execute(connection, unit as Query, (fields) => rowSink(connection, rowEncoder(seq, fields), output));
    }
    return await perform(unit, session);
  } catch (error) {
    if (interrupting && error instanceof Error) error.message += ` (time limit of ${data.timeoutMs! / 1000} s)`;
    throw error;
  } finally {
    inFlight.delete(worker);
    clearTimeout(timer || undefined);
    await interrupting;
  }
}

function rowSink(connection: Connection, encode: (row: unknown[]) => string, output: { rows: number }): RowSink {
  return (row) => {
    output.rows++;
    rowLines += encode(row);
    if (rowLines.length < rowsLength) return true;
    sendRows();
    if (bytesUntaken < rowsOnTheWay) return true;
    full.add(connection);
    return false;
  };
}

function sendRows(): void {
  if (rowLines === "") return;
  const lines = new TextEncoder().encode(rowLines);
  port.postMessage({ type: "rows", lines } satisfies FromThread, [lines.buffer as ArrayBuffer]);
  rowLines = "";
  bytesUntaken += lines.length;
}

/** Waits, but not longer than until the run ends. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(go, draining ? 0 : ms);
    pausing.add(go);
    function go() {
      clearTimeout(timer);
      pausing.delete(go);
      resolve();
    }
  });
}

/** The next message from the parent. */
function news(): Promise<void> {
  return new Promise((resolve) => wakers.push(resolve));
}

function post(message: FromThread): void {
  port.postMessage(message);
}

function plain(error: unknown): PlainError {
  if (!(error instanceof Error)) return { message: String(error), code: "Error" };
  const { code = error.name, errno } = error as { code?: string; errno?: number };
  return { message: error.message || code, code, ...(errno !== undefined && { errno }) };
}
