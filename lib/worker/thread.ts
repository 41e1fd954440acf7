/** State that the workers of one thread share: the queue, the port to the parent, and whether the run ends. */
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { MessagePort } from "node:worker_threads";
import type { Connection } from "mysql2";
import { interrupt } from "../mysql/interrupt.ts";
import { Counters } from "../shared/counters.ts";
import { type FromThread, type Settings, type SetupStatement, type ToThread, toPlain } from "../shared/messages.ts";
import { type Outcome, Segment } from "../shared/segment.ts";
import { Job } from "./job.ts";
import { noRows, type RowsTaker } from "./rows-taker.ts";

/** Time in ms for a query to end after its interruption begins. Then its connection is closed. */
const killGraceMs = 5000;

export class Thread {
  readonly settings: Settings;
  readonly counters: Counters;
  rows: RowsTaker = noRows;
  /** Receivers of messages to features, by the feature's name. */
  readonly onFeature = new Map<string, (data: unknown) => void>();
  /**
   * The connection that is running a query, by worker. Not a Map: when a Map is written to often, V8 chains the tables that
   * it leaves behind.
   */
  readonly running: (Connection | undefined)[] = [];
  /** Controllers of the signals of `workerDo()` calls in flight. */
  readonly aborting = new Set<AbortController>();
  /** Statements that run on every connection before its first query. */
  readonly sessionSetup: SetupStatement[];
  /**
   * The number of `workerDo()` calls that returned while a query was still running. While it is above 0, an unhandled
   * rejection comes from such a call and does not end the thread.
   */
  unitsAwaited = 0;
  /** The number of queries with warnings that were reported to the parent. */
  warnedTold = 0;
  readonly #port: MessagePort;
  readonly #segments: Segment[] = [];
  readonly #idle: (() => void)[] = [];
  readonly #draining = new AbortController();
  #isOver = false;

  constructor(port: MessagePort, settings: Settings) {
    this.#port = port;
    setMaxListeners(0, this.draining); // otherwise Node 20 warns when more than 10 workers pause
    this.settings = settings;
    this.sessionSetup = [...settings.sessionSetup];
    this.counters = new Counters(settings.counters);
    port.on("message", (message: ToThread) => this.#receive(message));
  }

  /** True if the run ends. Nothing is started or tried again then. */
  get isDraining(): boolean {
    const { maxFailures, maxWarnings } = this.settings;
    if (maxFailures < Number.POSITIVE_INFINITY && this.counters.failures >= maxFailures) this.#draining.abort();
    if (maxWarnings < Number.POSITIVE_INFINITY && this.counters.warnings >= maxWarnings) this.#draining.abort();
    return this.draining.aborted;
  }

  /** Aborted when the run ends. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  /** Ends the jobs that are session setup statements, because every connection runs these itself. Returns the other jobs. */
  endSetupStatements(worker: number, jobs: readonly Job[]): readonly Job[] {
    const last = this.sessionSetup.at(-1)?.seq ?? 0;
    for (const job of jobs) if (job.seq <= last) this.end(worker, job, "done");
    return last > 0 ? jobs.filter(({ seq }) => seq > last) : jobs;
  }

  /** Returns true if a worker may claim queries now. This may change during the run. */
  isWanted(worker: number): boolean {
    return worker <= this.counters.lastWorker;
  }

  /** Claims up to `maxBatch` queries. Stops after the first one that `canBatch` rejects. */
  claimNow(worker: number, maxBatch: number, canBatch: (job: Job) => boolean): readonly Job[] {
    const jobs: Job[] = [];
    while (jobs.length < maxBatch && this.isWanted(worker) && !this.isDraining && !this.rows.isFull) {
      const job = this.#claimOne(worker);
      if (job) jobs.push(job);
      if (!job || !canBatch(job)) break;
    }
    return jobs;
  }

  /** Waits until there may be something to claim. Returns false at once if the run is over. */
  async wait(): Promise<boolean> {
    if (this.#isOver) return false;
    this.post({ type: "idle" });
    await new Promise<void>((resolve) => this.#idle.push(resolve));
    return true;
  }

  /** Ends a query: posts its error, passes its rows on, then writes the outcome. */
  end(worker: number, job: Job, outcome: Outcome, rows = 0): void {
    if (outcome === "failed" || outcome === "unknown") {
      this.post({ type: "error", seq: job.seq, error: toPlain(job.error ?? new Error("Its thread died")) });
    }
    this.rows.flush();
    job.end(outcome, rows);
    if (outcome !== "skipped") this.counters.add(worker, outcome);
  }

  /** Gives a query back for another worker. Ends it if the run is draining. */
  giveBack(worker: number, job: Job): void {
    if (!this.isDraining) job.unclaim();
    else this.end(worker, job, job.mayHaveRun ? "unknown" : "skipped");
  }

  /** Waits for this time, or until the run ends. */
  pause(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.draining }).catch(() => {});
  }

  /** Sends KILL QUERY for these connections. */
  async interrupt(connections: readonly Connection[]): Promise<void> {
    await interrupt(connections, killGraceMs, (connection) => this.rows.unstop(connection));
    for (const connection of connections) this.rows.mayStop(connection);
  }

  /** Ends the run. Starts nothing more in this thread, even before the parent has received the message. */
  endRun(type: "refused" | "broken", reason: string): void {
    this.post({ type, reason });
    this.#draining.abort();
  }

  /** Posts data to a feature's part in the parent. */
  postFeature(name: string, data: unknown, transfer?: ArrayBuffer[]): void {
    this.#port.postMessage({ type: "feature", name, data } satisfies FromThread, transfer);
  }

  post(message: FromThread): void {
    this.#port.postMessage(message);
  }

  /** Lets the thread end when nothing else keeps it alive. */
  unref(): void {
    this.#port.unref();
  }

  #receive(message: ToThread): void {
    if (message.type === "segment") {
      while (this.#segments[0]?.exhausted) this.#leaveSegment(); // here, too: all workers may be busy for long
      this.#segments.push(new Segment(message.shared));
      this.#segments.sort((a, b) => a.id - b.id); // a segment may be announced again, before those not yet admitted
    } else if (message.type === "setupStatement") this.sessionSetup.push(message.statement);
    else if (message.type === "feature") this.onFeature.get(message.name)?.(message.data);
    else if (message.type === "kill") {
      for (const controller of this.aborting) controller.abort(new Error("The run was interrupted"));
      void this.interrupt(this.running.filter((connection) => connection !== undefined));
    } else if (message.type !== "admitted") {
      this.#isOver ||= message.type === "end"; // stays true: a `drain` may come after the `end`
      this.#draining.abort();
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
}
