/** State of a run in the parent. Handles the messages of its threads, ends it early, and makes the summary. */
import { myglobals } from "../myglobals.ts";
import { Counters, type WarnedQuery, warnedKept } from "../shared/counters.ts";
import type { FromThread } from "../shared/messages.ts";
import { SourceContext } from "../shared/source-context.ts";
import { messageOf, RefusedError, RunError } from "./errors.ts";
import { beginParts, type NamedPart } from "./feature.ts";
import type { Feed } from "./feed.ts";
import type { InFlight, Snapshot } from "./figures.ts";
import { Gatekeeper } from "./gate.ts";
import type { CompleteOptions, Summary } from "./options.ts";
import type { Pool, Thread } from "./pool.ts";
import { type Claimed, Records } from "./records.ts";
import { Selection } from "./selection.ts";
import { SessionSetup } from "./session-setup.ts";
import { unitsWatch } from "./units.ts";
import { Waits } from "./waits.ts";
import { Wakeup } from "./wakeup.ts";

export class Run {
  readonly wakeup = new Wakeup();
  readonly counters: Counters;
  readonly records: Records;
  readonly sourceContext: SourceContext;
  readonly gatekeeper: Gatekeeper;
  readonly sessionSetup: SessionSetup;
  /** Measures waits for a server, for the bar and the summary. */
  readonly waits = new Waits();
  onStop = (): void => {};
  /** Reason of an early end. If `error` is set, `doWork()` rejects with it. */
  stopped: { readonly reason: string; readonly error: unknown } | undefined;
  readonly options: CompleteOptions;
  readonly #total: number | undefined; // if the source has a length or size
  readonly #startedAt = performance.now();
  /** Word for what is counted. With a script, it is "query" once a thread has found no `workerDo()` in the script. */
  #noun: "query" | "unit";
  #hasToldOfRows = false;
  readonly #warned: WarnedQuery[] = []; // the first ones of each thread
  readonly #watchUnits: (pool: Pool) => void;
  #parts: readonly NamedPart[] = [];

  constructor(workers: number, options: CompleteOptions, total: number | undefined) {
    const { maxWorkers } = options;
    this.#total = total;
    this.options = options;
    this.#noun = options.script === undefined ? "query" : "unit";
    this.counters = new Counters(maxWorkers);
    this.sourceContext = new SourceContext({ ...options, workers, log: this.log });
    this.records = new Records(this.counters, (ended, unit) => {
      this.sourceContext.ended(ended);
      try {
        options.onEnded?.(ended, unit());
      } catch (error) {
        this.stop(messageOf(error), error);
      }
    });
    this.#watchUnits = unitsWatch(this.records, options.timeoutSeconds, this.log);
    this.sessionSetup = new SessionSetup({ ...options, workers: maxWorkers });
    this.gatekeeper = new Gatekeeper(options.gates, this.records, workers);
  }

  /** @throws the errors of the features. */
  async begin(): Promise<void> {
    this.#parts = await beginParts(this.options, this);
    const { checkpoints } = this.options;
    this.sourceContext.checkpoints = checkpoints;
    for (const { part } of this.#parts) {
      if (part.standsAlone !== undefined) this.sessionSetup.standAlone(part.standsAlone);
      if (part.checkpoints && !checkpoints?.isBegun) this.sourceContext.checkpoints = part.checkpoints;
    }
  }

  /** Returns the decision about each query. Call it after `begin()`. */
  selection(): Selection {
    const known = this.#parts.flatMap(({ part }) => part.known ?? []);
    const sessionSetup = this.options.dryRun ? undefined : this.sessionSetup;
    return new Selection(this.options, known, this.records, sessionSetup);
  }

  /** The settings that each thread starts with. */
  get settings() {
    const { maxWorkers, script, hosts, timeoutSeconds, connectTimeoutSeconds } = this.options;
    const { retries, idempotent, maxFailures, maxWarnings } = this.options;
    return {
      myglobals,
      isOnlyWorker: maxWorkers === 1,
      script: script === undefined ? undefined : String(script),
      counters: this.counters.shared,
      hosts,
      connectTimeoutMs: connectTimeoutSeconds * 1000,
      timeoutMs: timeoutSeconds === undefined ? undefined : timeoutSeconds * 1000,
      ...{ retries, idempotent, maxFailures, maxWarnings },
      features: Object.fromEntries(this.#parts.map(({ name, part }) => [name, part.settings])),
      sessionSetup: this.sessionSetup.statements,
    };
  }

  /** Ends the run early. Queries in flight end, the rest is skipped. */
  stop(reason: string, error?: unknown): void {
    if (this.stopped) return;
    this.stopped = { reason, error };
    this.onStop();
    this.wakeup.wake();
  }

  /** Ends the run with an error. Logs the reason if the run ends for another one. */
  fail(reason: string): void {
    if (this.stopped) this.log(reason);
    this.stop(reason, new Error(reason));
  }

  /** Calls a function of the caller of `doWork()`. If it throws, the run ends with that error; `what` is put before its message. */
  guard = async (action: () => unknown, what = ""): Promise<void> => {
    try {
      await action();
    } catch (error) {
      this.stop(what + messageOf(error), error);
    }
  };

  /** Returns the RunError that `doWork()` rejects with. */
  failure = (error: unknown): RunError => new RunError(messageOf(error), this.summary(0), error);

  /** Resolves when the features have finished their work. */
  async endFeatures(): Promise<void> {
    await Promise.all(this.#parts.map(({ part }) => part.end?.()));
  }

  /** Gives the open segments to a thread that was started. */
  started(thread: Thread): void {
    for (const segment of this.records.open) this.records.announce(segment, thread);
  }

  message(thread: Thread, message: FromThread): void {
    const { type } = message;
    if (type === "idle") this.wakeup.wake();
    else if (type === "segmentLeft") this.records.leave(message.id, thread);
    else if (type === "error") {
      this.records.setError(message.seq, message.error);
      this.wakeup.wakeNextTurn();
    } else if (type === "feature") {
      const { name, data } = message;
      const answer = (data: unknown) => thread.send({ type: "feature", name, data });
      this.#parts.find((each) => each.name === name)?.part.message?.(data, answer);
    } else if (type === "waiting") this.waits.begin(message.worker, message.error.message);
    else if (type === "waited") this.waits.end(message.worker);
    else if (type === "warned") this.#warned.push(message.query);
    else if (type === "queries") this.#noun = "query";
    else if (type === "killedTooLate") this.log(`${this.#noun} ${message.seq} was interrupted too late: it is done`);
    else if (type === "oddRows" && !this.#hasToldOfRows) {
      this.#hasToldOfRows = true;
      const what = `workerDo() returned ${message.returned} for unit ${message.seq}`;
      this.log(`${what}: it counts as 0 rows, because it is not a number of rows`);
    } else if (type === "refused") this.stop(message.reason, new RefusedError(message.reason));
    else if (type === "broken") this.fail(message.reason);
  }

  /** Decides about the queries of a thread that has exited, expected or not. */
  died(thread: Thread, cause: string): void {
    for (const worker of thread.workers) this.waits.end(worker);
    const isSafe = (unit: unknown) => this.options.idempotent || this.#parts.some(({ part }) => part.decides?.(unit));
    this.records.resolveDeadThread(thread, cause, (unit) => !this.stopped && isSafe(unit));
    this.wakeup.wake();
  }

  /** Lets as many workers claim queries as the gates allow. These are the first ones that have not given up. */
  limitWorkers(pool: Pool): void {
    const last = pool.numberOf(this.gatekeeper.workers);
    const isMore = last > this.counters.lastWorker;
    this.counters.lastWorker = last;
    this.sourceContext.workers = Math.max(1, last);
    if (isMore) pool.broadcast({ type: "admitted" });
  }

  /** Checks for units of a script that run too long. */
  watchUnits(pool: Pool): void {
    if (this.#noun === "unit") this.#watchUnits(pool);
  }

  /** Shows a line to the user. */
  log = (line: string): void => void this.guard(() => this.options.progress?.log(line));

  // Progress and summary:

  showProgress(feed: Feed, pool: Pool): void {
    void this.guard(() => this.options.progress?.update(this.#snapshot(feed, pool)));
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
      waiting: this.waits.describe(this.sourceContext.workers),
      latencyMs: () => this.records.tally.latencyMs,
      inFlight: () => [...this.records.inFlight()].map((claimed) => describe(claimed, pool)),
    };
  }

  summary(connected: number, feed?: Feed): Summary {
    const { tally } = this.records;
    const { total: known, ...result } = tally.result();
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
      threads: this.options.threads,
      ...(Object.assign({}, ...this.#parts.map(({ part }) => part.summary?.(result.earlier))) as Partial<Summary>),
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
