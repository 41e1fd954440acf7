/**
 * State of a run that can be changed while it goes on, and the commands that change it.
 *
 * No message goes to the workers. The commands change numbers that the gates read, and the gates change a number in shared memory.
 */
import { UsageError } from "../../command/errors.ts";
import type { Dial } from "../../command/feature.ts";
import { camel, count } from "../../command/flags.ts";
import type { Gate } from "../../mp.ts";
import type { Snapshot } from "../../parent/figures.ts";
import { Pace } from "../../parent/pace.ts";
import type { Progress } from "../../parent/progress.ts";
import { describeUnit } from "../../shared/query.ts";

export interface SteeringOptions {
  readonly workers: number;
  /** Most workers that `workers` may set. */
  readonly maxWorkers: number;
  readonly progress: Progress;
  /** Aborted by the command `drain`. */
  readonly drain: AbortController;
  /** Returns the settings that the features of the run let the user change. */
  dials(): readonly Dial[];
  /** Callback for each change, with a text such as "rate 200". */
  onChange(change: string): void;
}

export class Steering implements Gate {
  /** Callback for the begin of the run. */
  onBegin = (): void => {};
  #notify = (): void => {};
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
        this.#latest = snapshot;
        this.#pace.look(now(), snapshot);
        progress.update(snapshot);
      },
    };
  }

  attach(notify: () => void): void {
    this.#notify = notify;
    this.onBegin();
  }

  /** Applies a change and reports it. */
  changed(change: string): void {
    this.#notify();
    this.options.onChange(change);
  }

  limit(ended: number): number {
    return this.isPaused ? ended : Number.POSITIVE_INFINITY;
  }

  get reason(): string | undefined {
    return this.isPaused ? "paused by hand" : undefined;
  }

  /** The settings of the features, and the number of workers. */
  get dials(): readonly Dial[] {
    const workers: Dial = {
      name: "workers",
      value: this.workers,
      set: (argument) => {
        this.workers = count(1, this.options.maxWorkers)(argument, "workers");
      },
    };
    return [...this.options.dials(), workers];
  }

  dial(name: string): Dial | undefined {
    return this.dials.find((dial) => dial.name === name);
  }

  /** Sets a dial. @throws UsageError for an invalid argument. */
  async turn(dial: Dial, argument: string): Promise<void> {
    await dial.set(argument);
    this.changed(`${dial.name} ${argument}`);
  }

  /** Measured queries per second. */
  get perSecond(): number | undefined {
    return this.#pace.perSecond;
  }

  /** Current values of all that can be changed. */
  get settings() {
    const dials = this.dials.map(({ name, value }) => [camel(name), value]);
    return { paused: this.isPaused, ...Object.fromEntries(dials) };
  }

  /** Answer to the command `status`. */
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

/** Commands besides the dials. They take no argument. */
const commands: Record<string, (steering: Steering) => unknown> = {
  status: (steering) => steering.status,
  pause: (steering) => setPaused(steering, true),
  resume: (steering) => setPaused(steering, false),
  drain(steering) {
    steering.changed("drain");
    steering.options.drain.abort("drained by hand");
  },
};

/**
 * Carries out a line of the control socket. Returns the answer: the status, or the current settings.
 *
 * @throws UsageError for an unknown command or an invalid argument.
 */
export async function obey(steering: Steering, line: string): Promise<unknown> {
  const [, name = "", argument = ""] = /^\s*(\S*)\s*(.*?)\s*$/s.exec(line)!;
  if (Object.hasOwn(commands, name)) {
    if (argument !== "") throw new UsageError(`${name} takes no argument, not ${JSON.stringify(argument)}`);
    return commands[name]!(steering) ?? steering.settings;
  }
  const dial = steering.dial(name);
  if (!dial) {
    const known = [...Object.keys(commands), ...steering.dials.map(({ name }) => name)].join(", ");
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

/** Multiplies the rate by `factor`. If no rate is set, a factor below 1 starts from the measured rate, and one above 1 does nothing. */
export async function changeRate(steering: Steering, factor: number): Promise<void> {
  const dial = steering.dial("rate");
  const before = dial?.value ?? (factor < 1 ? steering.perSecond : undefined);
  if (dial && before) await steering.turn(dial, String(Number((Number(before) * factor).toPrecision(3))));
}
