/** What the workers of one thread share: the queue, the way to the parent, and whether the run ends. */
import type { MessagePort } from "node:worker_threads";
import type { Connection } from "mysql2";
import { interrupt } from "../mysql/interrupt.ts";
import { Counters } from "../shared/counters.ts";
import { type FromThread, type PrologueStatement, type Settings, type ToThread, toPlain } from "../shared/messages.ts";
import { type Outcome, Segment } from "../shared/segment.ts";
import { Job } from "./job.ts";
import { noRows, type RowsTaker } from "./rows-taker.ts";

/** How long a server may take to answer `KILL QUERY`, before the connection is given up. */
const killGraceMs = 5000;

export class Thread {
  readonly settings: Settings;
  readonly counters: Counters;
  rows: RowsTaker = noRows;
  /** What takes a message for a feature, by its name. */
  readonly onFeature = new Map<string, (data: unknown) => void>();
  /** By worker, the connection that is running something. Not a Map: V8 chains what it leaves behind when it is written to often. */
  readonly running: (Connection | undefined)[] = [];
  /** The controllers of the signals that a script's units in flight have. */
  readonly aborting = new Set<AbortController>();
  /** What is run on every connection before its first query. */
  readonly prologue: PrologueStatement[];
  /** Units of a script that have returned before their queries ended: a promise that rejects meanwhile is theirs. */
  unitsAwaited = 0;
  /** Queries with warnings that the parent was told of. */
  warnedTold = 0;
  readonly #port: MessagePort;
  readonly #segments: Segment[] = [];
  readonly #idle: (() => void)[] = [];
  readonly #pauses = new Set<() => void>();
  #isDraining = false;
  #isOver = false;

  constructor(port: MessagePort, settings: Settings) {
    this.#port = port;
    this.settings = settings;
    this.prologue = [...settings.prologue];
    this.counters = new Counters(settings.counters);
    port.on("message", (message: ToThread) => this.#receive(message));
  }

  /** Whether the run ends: nothing is to be started or tried again. */
  get isDraining(): boolean {
    const { maxFailures, maxWarnings } = this.settings;
    if (maxFailures < Number.POSITIVE_INFINITY) this.#isDraining ||= this.counters.failures >= maxFailures;
    if (maxWarnings < Number.POSITIVE_INFINITY) this.#isDraining ||= this.counters.warnings >= maxWarnings;
    return this.#isDraining;
  }

  /** Ends those of claimed jobs that every connection has run before its first query; returns the others. */
  endPrologue(worker: number, jobs: readonly Job[]): readonly Job[] {
    const last = this.prologue.at(-1)?.seq ?? 0;
    for (const job of jobs) if (job.seq <= last) this.end(worker, job, "done");
    return last > 0 ? jobs.filter(({ seq }) => seq > last) : jobs;
  }

  /** Whether a worker may claim queries; if not, it may be wanted later. */
  isWanted(worker: number): boolean {
    return worker <= this.counters.lastWorker;
  }

  /** Claims up to `maxBatch` queries, as long as `canBatch` says that they can go together; none when there is none. */
  claimNow(worker: number, maxBatch: number, canBatch: (job: Job) => boolean): readonly Job[] {
    const jobs: Job[] = [];
    while (jobs.length < maxBatch && this.isWanted(worker) && !this.isDraining && !this.rows.isFull) {
      const job = this.#claimOne(worker);
      if (job) jobs.push(job);
      if (!job || !canBatch(job)) break;
    }
    return jobs;
  }

  /** Waits until there may be something to claim; false when there will be nothing more. */
  async wait(): Promise<boolean> {
    if (this.#isOver) return false;
    this.post({ type: "idle" });
    await new Promise<void>((resolve) => this.#idle.push(resolve));
    return true;
  }

  /** Ends a query. */
  end(worker: number, job: Job, outcome: Outcome, rows = 0): void {
    if (outcome === "failed" || outcome === "unknown") {
      this.post({ type: "error", seq: job.seq, error: toPlain(job.error ?? new Error("Its thread died")) });
    }
    this.rows.flush();
    job.end(outcome, rows);
    if (outcome !== "skipped") this.counters.add(worker, outcome);
  }

  /** A query that this worker cannot run any more: another one may, unless the run ends. */
  giveBack(worker: number, job: Job): void {
    if (!this.isDraining) job.reopen();
    else this.end(worker, job, job.mayHaveRun ? "unknown" : "skipped");
  }

  /** Waits, but not longer than until the run ends. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const go = () => {
        clearTimeout(timer);
        this.#pauses.delete(go);
        resolve();
      };
      const timer = setTimeout(go, this.#isDraining ? 0 : ms);
      this.#pauses.add(go);
    });
  }

  /** Interrupts on the server what these connections are running. */
  async interrupt(connections: readonly Connection[]): Promise<void> {
    await interrupt(connections, killGraceMs, (connection) => this.rows.unstop(connection));
    for (const connection of connections) this.rows.mayStop(connection);
  }

  /** Ends the run, and lets nothing more begin here before the parent has heard of it. */
  endRun(type: "refused" | "broken", reason: string): void {
    this.post({ type, reason });
    this.#drain();
  }

  /** Posts something to a feature's part in the parent. */
  postFeature(name: string, data: unknown, transfer?: ArrayBuffer[]): void {
    this.#port.postMessage({ type: "feature", name, data } satisfies FromThread, transfer);
  }

  post(message: FromThread): void {
    this.#port.postMessage(message);
  }

  /** Lets the thread end when nothing else keeps it. */
  unref(): void {
    this.#port.unref();
  }

  #receive(message: ToThread): void {
    if (message.type === "segment") {
      while (this.#segments[0]?.exhausted) this.#leaveSegment(); // all workers may be busy with something slow
      this.#segments.push(new Segment(message.shared));
      this.#segments.sort((a, b) => a.id - b.id); // one that comes again is before those that are not admitted yet
    } else if (message.type === "prologue") this.prologue.push(message.statement);
    else if (message.type === "feature") this.onFeature.get(message.name)?.(message.data);
    else if (message.type === "kill") {
      for (const controller of this.aborting) controller.abort(new Error("The run was interrupted"));
      void this.interrupt(this.running.filter((connection) => connection !== undefined));
    } else if (message.type !== "admitted") {
      this.#isOver ||= message.type === "end"; // what drains the run may come after its end
      this.#drain();
    }
    for (const wake of this.#idle.splice(0)) wake();
  }

  #claimOne(worker: number): Job | undefined {
    for (let segment = this.#segments[0]; segment; segment = this.#segments[0]) {
      const index = segment.claim(worker);
      if (index >= 0) return new Job(segment, index);
      if (!segment.exhausted) return undefined; // the rest is not admitted yet
      this.#leaveSegment();
    }
    return undefined;
  }

  #leaveSegment(): void {
    const left = this.#segments.shift();
    if (left) this.post({ type: "segmentLeft", id: left.id });
  }

  #drain(): void {
    this.#isDraining = true;
    for (const go of this.#pauses) go();
  }
}
