/** A run as the parent knows it: what its threads say, why it ends early, and what came of it. */
import { myglobals } from "../myglobals.ts";
import { Counters, type WarnedQuery, warnedKept } from "../shared/counters.ts";
import type { FromThread, Settings } from "../shared/messages.ts";
import { Reading } from "../shared/reading.ts";
import { Bell } from "./bell.ts";
import { messageOf, RefusedError, RunError } from "./errors.ts";
import type { RunOfFeature } from "./feature.ts";
import type { Feed } from "./feed.ts";
import { Gatekeeper } from "./gate.ts";
import type { Summary, withDefaults } from "./options.ts";
import { Parts } from "./parts.ts";
import type { Pool, PoolListener, Thread } from "./pool.ts";
import type { InFlight, Snapshot } from "./progress.ts";
import { Prologue } from "./prologue.ts";
import { type Claimed, Records } from "./records.ts";
import { Selection } from "./selection.ts";
import { unitsWatch } from "./units.ts";
import { Waits } from "./waits.ts";

export class Run implements PoolListener, RunOfFeature {
  readonly bell = new Bell();
  readonly counters: Counters;
  readonly records: Records;
  readonly reading: Reading;
  readonly gatekeeper: Gatekeeper;
  readonly prologue: Prologue;
  readonly waits = new Waits();
  onStop = (): void => {};
  /** Why it ends early; with an error when that is what `doWork()` rejects with. */
  stopped: { readonly reason: string; readonly error: unknown } | undefined;
  readonly #options: ReturnType<typeof withDefaults>;
  readonly #total: number | undefined; // where the source says it
  readonly #startedAt = performance.now();
  /** What a person calls what is done: units, once a thread has found a `workerDo()` in the script. */
  #noun: "query" | "unit" = "query";
  #hasToldOfRows = false;
  readonly #warned: WarnedQuery[] = []; // the first of each thread
  readonly #watchUnits: (pool: Pool) => void;
  readonly #parts = new Parts();

  constructor(workers: number, options: ReturnType<typeof withDefaults>, total: number | undefined) {
    const { maxWorkers } = options;
    this.#total = total;
    this.#options = options;
    this.counters = new Counters(maxWorkers);
    this.reading = new Reading({ ...options, workers, log: this.log });
    this.records = new Records(this.counters, (ended, unit) => {
      this.reading.ended(ended);
      try {
        options.onEnded?.(ended, unit());
      } catch (error) {
        this.stop(messageOf(error), error);
      }
    });
    this.#watchUnits = unitsWatch(this.records, options.timeoutSeconds, this.log);
    this.prologue = new Prologue({ ...options, workers: maxWorkers });
    this.gatekeeper = new Gatekeeper(options.gates, this.records, workers);
  }

  /** @throws what a feature has against the options. */
  async begin(): Promise<void> {
    await this.#parts.begin(this.#options, this);
    for (const why of this.#parts.standsAlone) this.prologue.standAlone(why);
    const { notes } = this.#options;
    this.reading.notes = notes?.isBegun ? notes : (this.#parts.notes ?? notes);
  }

  /** What decides about each query; to be asked for after `begin()`. */
  selection(): Selection {
    return new Selection(this.#options, this.#parts.known, this.prologue, (outcome) =>
      this.records.addEarlier(outcome),
    );
  }

  /** What each thread is told at its start. */
  get settings(): Omit<Settings, "workers" | "isRenewed" | "bundle" | "compileCache"> {
    const { maxWorkers, script, hosts, timeoutSeconds, connectTimeoutSeconds } = this.#options;
    const { retries, idempotent, maxFailures, maxWarnings } = this.#options;
    return {
      myglobals,
      isOnlyWorker: maxWorkers === 1,
      script: script === undefined ? undefined : String(script),
      counters: this.counters.shared,
      hosts: hosts.map(({ host, port }) => ({ host, port })),
      connectTimeoutMs: connectTimeoutSeconds * 1000,
      timeoutMs: timeoutSeconds === undefined ? undefined : timeoutSeconds * 1000,
      ...{ retries, idempotent, maxFailures, maxWarnings },
      features: this.#parts.settings,
      prologue: this.prologue.statements,
    };
  }

  /** Ends the run early: what is in flight ends, the rest is skipped. */
  stop(reason: string, error?: unknown): void {
    if (this.stopped) return;
    this.stopped = { reason, error };
    this.onStop();
    this.bell.ring();
  }

  /** Runs what the caller of `doWork()` has given; what it throws ends the run. */
  guard = async (action: () => unknown, what = ""): Promise<void> => {
    try {
      await action();
    } catch (error) {
      this.stop(what + messageOf(error), error);
    }
  };

  failure = (error: unknown): RunError => new RunError(messageOf(error), this.summary(0), error);

  /** Resolves when nothing of the features is under way. */
  endFeatures(): Promise<void> {
    return this.#parts.end();
  }

  // What the pool tells:
  started(thread: Thread): void {
    for (const segment of this.records.open) this.records.announce(segment, thread);
  }

  message(thread: Thread, message: FromThread): void {
    const { type } = message;
    if (type === "idle") this.bell.ring();
    else if (type === "segmentLeft") this.records.leave(message.id, thread);
    else if (type === "error") {
      this.records.explain(message.seq, message.error);
      this.bell.ringSoon();
    } else if (type === "feature") {
      const { name, data } = message;
      this.#parts.message(name, data, (answer) => thread.send({ type: "feature", name, data: answer }));
    } else if (type === "waiting") this.waits.begin(message.worker, message.error.message);
    else if (type === "waited") this.waits.end(message.worker);
    else if (type === "warned") this.#warned.push(message.query);
    else if (type === "units") this.#noun = "unit";
    else if (type === "killedTooLate") this.log(`${this.#noun} ${message.seq} was interrupted too late: it is done`);
    else if (type === "oddRows") this.#tellOfRows(message.seq, message.returned);
    else if (type === "refused") this.stop(message.reason, new RefusedError(message.reason));
    else if (type === "broken") {
      if (this.stopped) this.log(message.reason); // it is worth knowing, whatever else ends the run
      this.stop(message.reason, new Error(message.reason));
    }
  }

  #tellOfRows(seq: number, returned: number): void {
    if (this.#hasToldOfRows) return;
    this.#hasToldOfRows = true;
    this.log(
      `workerDo() returned ${returned} for unit ${seq}: it counts as no rows, as each number that is no number of rows`,
    );
  }

  died(thread: Thread, cause: string): void {
    for (const worker of thread.workers) this.waits.end(worker);
    const isSafe = (unit: unknown) => this.#options.idempotent || this.#parts.decide(unit);
    this.records.bury(thread, cause, (unit) => !this.stopped && isSafe(unit));
    this.bell.ring();
  }

  runFailed(reason: string, error?: Error): void {
    if (this.stopped && error) this.log(reason);
    this.stop(reason, error);
  }

  /** Lets as many workers claim queries as the gates say: the first ones that have not given up. */
  limitWorkers(pool: Pool): void {
    const last = pool.numberOf(this.gatekeeper.workers);
    const isMore = last > this.counters.lastWorker;
    this.counters.lastWorker = last;
    this.reading.workers = Math.max(1, last);
    if (isMore) pool.broadcast({ type: "admitted" });
  }

  /** Sees to units that take too long. */
  watchUnits(pool: Pool): void {
    if (this.#noun === "unit") this.#watchUnits(pool);
  }

  /** How many queries have been done or have failed. */
  finished = (): number => {
    const { done, failed } = this.counters.read();
    return done + failed;
  };

  log = (line: string): void => void this.guard(() => this.#options.progress?.log(line));

  // What it tells:

  showProgress(feed: Feed, pool: Pool): void {
    void this.guard(() => this.#options.progress?.update(this.#snapshot(feed, pool)));
  }

  #snapshot(feed: Feed, pool: Pool): Snapshot {
    const { done, failed, unknown } = this.counters.read();
    const { total, about } = feed;
    return {
      ended: done + failed + unknown,
      earlier: this.records.tally.earlier,
      failed,
      unknown,
      total: total ?? about,
      isAbout: about !== undefined,
      noun: this.#noun,
      held: this.stopped ? "ending" : this.gatekeeper.reason,
      waiting: this.waits.describe(this.reading.workers),
      latencyMs: () => this.records.tally.latencyMs,
      inFlight: () => [...this.records.inFlight()].map((claimed) => describe(claimed, pool)),
    };
  }

  summary(connected: number, feed?: Feed): Summary {
    const { tally } = this.records;
    const { total: known, ...result } = tally.result();
    const counts = this.counters.read();
    const total = Math.max(known, feed?.total ?? this.#total ?? 0); // some were never taken from the queue
    const seconds = (performance.now() - this.#startedAt) / 1000;
    const allRead = feed?.total !== undefined;
    return {
      total,
      ...result,
      skipped: result.skipped + total - known,
      seconds,
      perSecond: (tally.ended - result.skipped) / seconds,
      workers: connected,
      threads: this.#options.threads,
      earlier: { ...result.earlier, done: result.earlier.done + counts.doneBefore }, // a ledger knows of some, too
      ...this.#parts.summary(counts),
      ...(this.#warned.length > 0 && {
        firstWarned: this.#warned.toSorted((a, b) => a.seq - b.seq).slice(0, warnedKept),
      }),
      ...(this.waits.ended.length > 0 && { waited: this.waits.ended }),
      ...(this.#noun === "unit" && { units: true }),
      ...(this.stopped && {
        reason:
          this.stopped.reason + (allRead ? "" : `; not all ${this.#noun === "unit" ? "units" : "queries"} were read`),
      }),
    };
  }
}

function describe({ segment, index, worker }: Claimed, pool: Pool): InFlight {
  const { start, tries } = segment.record(index);
  const seconds = (Date.now() - start) / 1000;
  return { worker, thread: pool.slotOf(worker), seq: segment.seq(index), seconds, tries, unit: segment.unit(index) };
}
