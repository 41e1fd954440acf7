/** What the workers of one thread share: its messages, its segments, waiting, and the rows on their way to the parent. */
import { parentPort, workerData } from "node:worker_threads";
import type { Connection } from "mysql2";
import type { Host } from "./connection.ts";
import { interrupt } from "./interrupt.ts";
import { Segment } from "./queue.ts";
import { Counters } from "./stats.ts";

/** What a thread gets at its start, as `workerData`. */
export interface ThreadData {
  readonly myglobals: unknown;
  /** The numbers of the workers that this thread carries, counted from 1. */
  readonly workers: readonly number[];
  /** URL of the module whose `workerInit` and `workerDo` replace the default ones. */
  readonly script: string | undefined;
  readonly counters: SharedArrayBuffer;
  /** Where to connect to; empty when the configuration alone says it. */
  readonly hosts: readonly Host[];
  readonly retries: number;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number | undefined;
  readonly idempotent: boolean;
  readonly maxFailures: number;
  /** Whether the parent wants the rows. */
  readonly rows: boolean;
  /** Queries in one round trip, at the most. */
  readonly batch: number;
  /** The ledger's table, as SQL. */
  readonly ledger: string | undefined;
}

export type ToThread =
  | { readonly type: "segment"; readonly shared: SharedArrayBuffer }
  /** The parent has taken so many bytes of the thread's rows. */
  | { readonly type: "taken"; readonly bytes: number }
  /** More queries can be claimed. */
  | { readonly type: "admitted" }
  /** `drain`: start nothing more. `kill`: interrupt what is in flight. `end`: all is done, close the connections. */
  | { readonly type: "drain" | "kill" | "end" };

export type FromThread =
  /** The thread will not look again into the segment with this id. */
  | { readonly type: "left"; readonly id: number }
  | { readonly type: "connected"; readonly worker: number; readonly host: string | undefined }
  /** One of several hosts does not let the worker in. */
  | { readonly type: "away"; readonly host: string; readonly error: PlainError }
  /** `idle`: the worker found nothing to claim. `waiting`, `gone`: it tries to connect again, or has given up. */
  | { readonly type: "idle" }
  | { readonly type: "waiting"; readonly error: PlainError }
  | { readonly type: "gone"; readonly worker: number; readonly error: PlainError }
  /** A query has set something, such as `USE`, on a connection of this thread: others may depend on it. */
  | { readonly type: "set"; readonly statement: string }
  /** The run cannot go on: as what it was given is not right, or as something was lost with a connection. */
  | { readonly type: "refused" | "broken"; readonly reason: string }
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

/** A query that a worker has claimed. */
export interface Claim {
  readonly segment: Segment;
  readonly index: number;
}

/** Rows are sent in pieces of about so many characters, and at the end of each query. */
const pieceLength = 1 << 16;
/** Bytes of rows that may be on their way to a parent that takes them slowly; then the queries wait. */
const bytesOnTheWay = 1 << 20;
/** How long a server may take to answer `KILL QUERY`, before the connection is given up. */
const killGraceMs = 5000;

const port = parentPort!;
export const data = workerData as ThreadData;
export const counters = new Counters(data.counters);
/** By worker, the connection that is running something. Not a Map: V8 chains what it leaves behind when it is written to often. */
export const inFlight: (Connection | undefined)[] = [];

const segments: Segment[] = [];
const full = new Set<Connection>(); // paused until the parent has taken some rows
const hurried = new Set<Connection>(); // not to be paused: they are being interrupted
const wakers: (() => void)[] = [];
const pausing = new Set<() => void>();
let rowLines = "";
let bytesUntaken = 0;
let draining = false;
let ended = false;

/** Starts to listen to the parent. */
export function listen(): void {
  port.on("message", (message: ToThread) => {
    if (message.type === "segment") {
      while (segments[0]?.exhausted) leaveSegment(); // when all of the thread's workers are busy with something slow
      segments.push(new Segment(message.shared));
      segments.sort((a, b) => a.id - b.id); // one that comes again is before those that are not admitted yet
    } else if (message.type === "taken") {
      bytesUntaken -= message.bytes;
      // Each gives at once what it has read: going on at every piece taken, they would give many times as much.
      if (bytesUntaken < bytesOnTheWay) {
        const resuming = [...full];
        full.clear(); // before they go on: they may be full again at once
        for (const connection of resuming) connection.resume();
      }
    } else if (message.type === "kill") interruptRunning(inFlight.filter((connection) => connection !== undefined));
    else if (message.type !== "admitted") {
      draining = true;
      ended = message.type === "end";
      for (const go of pausing) go();
    }
    for (const wake of wakers.splice(0)) wake();
  });
}

/** Lets the thread end when nothing else keeps it. */
export function hangUp(): void {
  port.unref();
}

/** Ends the run, and lets nothing more begin here before the parent has heard of it. */
export function endRun(type: "refused" | "broken", reason: string): void {
  post({ type, reason });
  draining = true;
  for (const go of pausing) go();
}

/** Whether the run ends: nothing is to be started or tried again. */
export function isDraining(): boolean {
  if (!draining && data.maxFailures < Number.POSITIVE_INFINITY) draining = counters.failures >= data.maxFailures;
  return draining;
}

/** Claims the next query for a worker, if one is there now. */
export function claimNow(worker: number): Claim | undefined {
  for (let segment = segments[0]; segment; segment = segments[0]) {
    const index = segment.claim(worker);
    if (index >= 0) return { segment, index };
    if (!segment.exhausted) return undefined; // the rest is not admitted yet
    leaveSegment();
  }
  return undefined;
}

/** Claims the next query for a worker, as soon as there is one; `undefined` when there will be none. */
export async function claimNext(worker: number): Promise<Claim | undefined> {
  for (;;) {
    const claim = !isDraining() && bytesUntaken < bytesOnTheWay ? claimNow(worker) : undefined;
    if (claim || ended) return claim;
    post({ type: "idle" });
    await new Promise<void>((resolve) => wakers.push(resolve));
  }
}

function leaveSegment(): void {
  const left = segments.shift();
  if (left) post({ type: "left", id: left.id });
}

/** Adds lines to the rows for the parent; returns false when `connection` is to wait, and is resumed later. */
export function addRows(lines: string, connection: Connection): boolean {
  rowLines += lines;
  if (rowLines.length < pieceLength) return true;
  sendRows();
  if (bytesUntaken < bytesOnTheWay || hurried.has(connection)) return true;
  full.add(connection);
  return false;
}

/** Interrupts what connections are running. A paused one goes on meanwhile, or nobody would hear the server's answer. */
export async function interruptRunning(connections: readonly Connection[]): Promise<void> {
  for (const connection of connections) {
    hurried.add(connection);
    full.delete(connection);
    connection.resume();
  }
  await interrupt(connections, killGraceMs);
  for (const connection of connections) hurried.delete(connection);
}

/** Sends the rows that are there. */
export function sendRows(): void {
  if (rowLines === "") return;
  const lines = new TextEncoder().encode(rowLines);
  bytesUntaken += lines.length; // before it is transferred: then it has none
  port.postMessage({ type: "rows", lines } satisfies FromThread, [lines.buffer as ArrayBuffer]);
  rowLines = "";
}

/** Waits, but not longer than until the run ends. */
export function pause(ms: number): Promise<void> {
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

export function post(message: FromThread): void {
  port.postMessage(message);
}

/** What of an error can travel to the parent. */
export function plain(error: unknown): PlainError {
  if (!(error instanceof Error)) return { message: String(error), code: "Error" };
  const { code = error.name, errno } = error as { code?: string; errno?: number };
  return { message: error.message || code, code, ...(errno !== undefined && { errno }) };
}
