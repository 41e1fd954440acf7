/**
 * A run that can be changed while it goes on, and the commands that change it.
 *
 * Nothing is sent to the workers: it is all numbers that the gates read, and what these admit is a number in shared memory.
 */
import { UsageError } from "../../command/errors.ts";
import type { Dial } from "../../command/feature.ts";
import { camel, count } from "../../command/flags.ts";
import type { Gate } from "../../mp.ts";
import { Pace } from "../../parent/pace.ts";
import type { Progress, Snapshot } from "../../parent/progress.ts";
import { describeUnit } from "../../shared/query.ts";

export interface SteeringOptions {
  readonly workers: number;
  /** The most that there may be. */
  readonly maxWorkers: number;
  readonly progress: Progress;
  /** Is aborted by `drain`. */
  readonly drain: AbortController;
  /** What the features of the run let a person change. */
  dials(): readonly Dial[];
  /** Hears of each change, in words. */
  onChange(change: string): void;
}

export class Steering implements Gate {
  /** Is called when the run begins. */
  onBegin = (): void => {};
  #askNow = (): void => {};
  /** Wraps the bar and keeps the last snapshot for `status`. Pass it to `doWork()`. */
  readonly progress: Progress;
  readonly options: SteeringOptions;
  isPaused = false;
  workers: number;
  readonly #pace = new Pace();
  #latest: Snapshot | undefined;

  constructor(options: SteeringOptions) {
    const { workers, progress } = options;
    this.options = options;
    this.workers = workers;
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
    this.options.onChange(change);
  }

  limit(ended: number): number {
    return this.isPaused ? ended : Number.POSITIVE_INFINITY;
  }

  get reason(): string | undefined {
    return this.isPaused ? "paused by hand" : undefined;
  }

  dial(name: string): Dial | undefined {
    return this.options.dials().find((dial) => dial.name === name);
  }

  /** Turns a dial. @throws UsageError for an argument that it does not take. */
  async turn(dial: Dial, argument: string): Promise<void> {
    await dial.set(argument);
    this.changed(`${dial.name} ${argument}`);
  }

  /** Queries a second, as measured. */
  get perSecond(): number | undefined {
    return this.#pace.perSecond;
  }

  /** What can be changed, as it is. */
  get settings() {
    const dials = this.options.dials().map(({ name, value }) => [camel(name), value]);
    return { paused: this.isPaused, ...Object.fromEntries(dials), workers: this.workers };
  }

  /** How far the run is. */
  get status() {
    const latest = this.#latest;
    const { ended = 0, earlier = 0, failed = 0, unknown = 0, total, held, waiting } = latest ?? {};
    const secondsLeft = held === undefined ? this.#pace.secondsLeft(now()) : undefined;
    return {
      total: (latest?.isAbout ? undefined : total) ?? null,
      done: ended - failed - unknown,
      ...{ failed, unknown, earlier },
      perSecond: this.perSecond ?? null,
      secondsLeft: secondsLeft === undefined ? null : Math.round(secondsLeft),
      latencyMs: latest?.latencyMs() ?? null,
      held: held ?? waiting ?? null,
      ...this.settings,
      inFlight: (latest?.inFlight() ?? []).map(({ unit, ...rest }) => ({ ...rest, sql: describeUnit(unit, 80) })),
    };
  }
}

function now(): number {
  return performance.now() / 1000;
}

type Command = (steering: Steering, argument: string) => unknown;

/** What a line on the control socket may say besides the dials: the first word, and the rest. */
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
  workers: (steering, argument) => {
    const wanted = count(1, steering.options.maxWorkers)(argument, "workers");
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
  if (Object.hasOwn(commands, name)) return (await commands[name]!(steering, argument)) ?? steering.settings;
  const dial = steering.dial(name);
  if (!dial) {
    const known = [...Object.keys(commands), ...steering.options.dials().map(({ name }) => name)].join(", ");
    throw new UsageError(`Unknown command ${JSON.stringify(name)}: it may be ${known}`);
  }
  await steering.turn(dial, argument);
  return steering.settings;
}

export function setPaused(steering: Steering, isPaused: boolean): void {
  if (steering.isPaused === isPaused) return;
  steering.isPaused = isPaused;
  steering.changed(isPaused ? "pause" : "resume");
}

/** Changes the rate by a part of it; without one, by a part of what the run does now. */
export async function changeRate(steering: Steering, factor: number): Promise<void> {
  const dial = steering.dial("rate");
  const before = dial?.value ?? (factor < 1 ? steering.perSecond : undefined);
  if (dial && before) await steering.turn(dial, String(Number((Number(before) * factor).toPrecision(3))));
}

function none(name: string, argument: string): void {
  if (argument !== "") throw new UsageError(`${name} takes no argument, not ${JSON.stringify(argument)}`);
}
