/**
 * What can be changed of a run while it goes on, and the commands that change it.
 *
 * Nothing is sent to the workers: it is all numbers that one gate reads, and what that admits is a number in shared memory.
 */

import { UsageError } from "../../command/errors.ts";
import { count, maxLoad, rate, seconds } from "../../command/flag-values.ts";
import type { Gate } from "../../mp.ts";
import { Pace } from "../../parent/pace.ts";
import type { Progress, Snapshot } from "../../parent/progress.ts";
import { describeUnit } from "../../shared/query.ts";
import type { LagLimit } from "../lag/lag.ts";
import { type LoadLimit, type Rate, rateGate, type Watch } from "../throttle/gates.ts";

export interface SteeringOptions {
  readonly workers: number;
  readonly progress: Progress;
  /** Is aborted by `drain`. */
  readonly drain: AbortController;
  watchLoad(limits: readonly LoadLimit[]): Promise<Watch>;
  /** Is there when replicas are named. */
  readonly watchLag: ((limit: LagLimit) => Promise<Watch>) | undefined;
}

export class Steering implements Gate {
  /** Hears of each change, in words. */
  onChange = (_: string): void => {};
  /** Is called when the run begins. */
  onBegin = (): void => {};
  #askNow = (): void => {};
  /** Goes to `doWork()`: what it is told is told to the bar, and kept for `status`. */
  readonly progress: Progress;
  readonly options: SteeringOptions;
  readonly rate: Rate = { perSecond: undefined };
  readonly lag: LagLimit = { seconds: Number.POSITIVE_INFINITY };
  isPaused = false;
  workers: number;
  load: readonly LoadLimit[] = [];
  readonly #rateGate: Gate;
  readonly #pace = new Pace();
  #loadWatch: Watch | undefined;
  #lagWatch: Watch | undefined;
  #latest: Snapshot | undefined;

  constructor(options: SteeringOptions) {
    const { workers, progress } = options;
    this.options = options;
    this.workers = workers;
    this.#rateGate = rateGate(this.rate, workers);
    this.progress = {
      ...progress,
      update: (snapshot) => {
        const { ended, earlier, total, inFlight } = snapshot;
        const left = total === undefined ? undefined : total - ended;
        this.#latest = snapshot;
        this.#pace.look(now(), () => ({ ended: ended - earlier, left, inFlight: inFlight().length }));
        progress.update(snapshot);
      },
    };
  }

  attach(askNow: () => void): void {
    this.#askNow = askNow;
    this.onBegin();
  }

  /** To be called when something was changed. */
  changed(change: string): void {
    this.#askNow();
    this.onChange(change);
  }

  limit(ended: number): number {
    const limits = [this.#rateGate, ...this.#watches].map((gate) => gate.limit(ended));
    return this.isPaused ? ended : Math.min(...limits);
  }

  get reason(): string | undefined {
    return this.isPaused ? "paused by hand" : this.#watches.find(({ reason }) => reason !== undefined)?.reason;
  }

  get #watches(): Gate[] {
    return [this.#loadWatch, this.#lagWatch].flatMap((watch) => (watch ? [watch.gate] : []));
  }

  /** @throws UsageError for a variable that the server does not have; the limits are the old ones then. */
  async limitLoad(limits: readonly LoadLimit[]): Promise<void> {
    const watch = limits.length > 0 ? await this.options.watchLoad(limits) : undefined;
    this.#loadWatch?.stop();
    this.#loadWatch = watch;
    this.load = limits;
  }

  /** @throws UsageError for replicas that are none; the limit is the old one then. */
  async limitLag(limitSeconds: number): Promise<void> {
    if (!this.options.watchLag)
      throw new UsageError("The replicas were not named at the start: --replicas db2,db3:3307");
    const before = this.lag.seconds;
    this.lag.seconds = limitSeconds;
    try {
      if (limitSeconds < Number.POSITIVE_INFINITY) this.#lagWatch ??= await this.options.watchLag(this.lag);
    } catch (error) {
      this.lag.seconds = before;
      throw error;
    }
  }

  /** Queries a second, as measured. */
  get perSecond(): number | undefined {
    return this.#pace.perSecond;
  }

  /** What can be changed, as it is. */
  get settings() {
    const maxLoad = this.load.map(({ variable, most }) => `${variable}=${most}`).join(",");
    return {
      paused: this.isPaused,
      rate: this.rate.perSecond ?? null,
      maxLoad: maxLoad || null,
      maxLag: this.lag.seconds < Number.POSITIVE_INFINITY ? this.lag.seconds : null,
      workers: this.workers,
    };
  }

  /** How far the run is. */
  get status() {
    const latest = this.#latest;
    const { ended = 0, earlier = 0, failed = 0, unknown = 0, total, held } = latest ?? {};
    const secondsLeft = held === undefined ? this.#pace.secondsLeft(now()) : undefined;
    return {
      total: total ?? null,
      done: ended - failed - unknown,
      ...{ failed, unknown, earlier },
      perSecond: this.perSecond ?? null,
      secondsLeft: secondsLeft === undefined ? null : Math.round(secondsLeft),
      latencyMs: latest?.latencyMs() ?? null,
      held: held ?? null,
      ...this.settings,
      inFlight: (latest?.inFlight() ?? []).map(({ unit, ...rest }) => ({ ...rest, sql: describeUnit(unit, 80) })),
    };
  }

  stop(): void {
    this.#loadWatch?.stop();
    this.#lagWatch?.stop();
  }
}

function now(): number {
  return performance.now() / 1000;
}

type Command = (steering: Steering, argument: string) => unknown;

/** What a line on the control socket may say: the first word, and the rest. */
const commands: Record<string, Command> = {
  status: (steering, argument) => {
    none("status", argument);
    return steering.status;
  },
  pause: (steering, argument) => {
    none("pause", argument);
    setPaused(steering, true);
  },
  resume: (steering, argument) => {
    none("resume", argument);
    setPaused(steering, false);
  },
  rate: (steering, argument) => setRate(steering, isOff(argument) ? undefined : rate(argument, "rate")),
  "max-load": async (steering, argument) => {
    await steering.limitLoad(isOff(argument) ? [] : maxLoad(argument, "max-load"));
    steering.changed(`max-load ${argument}`);
  },
  "max-lag": async (steering, argument) => {
    await steering.limitLag(isOff(argument) ? Number.POSITIVE_INFINITY : seconds(argument, "max-lag"));
    steering.changed(`max-lag ${argument}`);
  },
  workers: (steering, argument) => {
    const wanted = count(1, steering.options.workers)(argument, "workers");
    steering.workers = wanted;
    steering.changed(`workers ${wanted}`);
  },
  drain: (steering, argument) => {
    none("drain", argument);
    steering.changed("drain");
    steering.options.drain.abort("drained by hand");
  },
};

/**
 * Does what a line says; returns what to answer: the status, or what is set now.
 *
 * @throws UsageError for what is no command, or not its argument.
 */
export async function obey(steering: Steering, line: string): Promise<unknown> {
  const [, name = "", argument = ""] = /^\s*(\S*)\s*(.*?)\s*$/s.exec(line)!;
  if (!Object.hasOwn(commands, name)) {
    const known = Object.keys(commands).join(", ");
    throw new UsageError(`Unknown command ${JSON.stringify(name)}: it may be ${known}`);
  }
  return (await commands[name]!(steering, argument)) ?? steering.settings;
}

export function setPaused(steering: Steering, isPaused: boolean): void {
  if (steering.isPaused === isPaused) return;
  steering.isPaused = isPaused;
  steering.changed(isPaused ? "pause" : "resume");
}

function setRate(steering: Steering, perSecond: number | undefined): void {
  steering.rate.perSecond = perSecond;
  steering.changed(`rate ${perSecond ?? "off"}`);
}

/** Changes the rate by a part of it; without one, by a part of what the run does now. */
export function changeRate(steering: Steering, factor: number): void {
  const before = steering.rate.perSecond ?? (factor < 1 ? steering.perSecond : undefined);
  if (before) setRate(steering, Number((before * factor).toPrecision(3)));
}

function none(name: string, argument: string): void {
  if (argument !== "") throw new UsageError(`${name} takes no argument, not ${JSON.stringify(argument)}`);
}

function isOff(argument: string): boolean {
  return argument === "off";
}
