/** Computes the figures beside the bar: counts, the rate, the time left. */
import type { Result } from "../shared/counters.ts";
import { Pace } from "./pace.ts";
import { count, printable } from "./text.ts";

/** State of the run that the bar shows. */
export interface Snapshot {
  ended: number;
  /** Number of these that an earlier run has ended. */
  earlier: number;
  failed: number;
  unknown: number;
  /** Undefined until a stream of queries has ended. An estimate if `isAbout`. */
  total: number | undefined;
  isAbout?: boolean;
  /** Word for what is counted. @default "query" */
  noun?: "query" | "unit";
  /** Reason why no time left is shown: queries are held back, or no further ones start. */
  held?: string | undefined;
  /** Text about waiting for a server: the number of workers, the time and the reason. */
  waiting?: string | undefined;
  /** Returns the durations of ended queries. */
  latencyMs: () => Result["latencyMs"];
  /** Returns the query of each busy worker. */
  inFlight: () => InFlight[];
}

/** A query that a worker is running, or waiting to run again. */
export interface InFlight {
  worker: number;
  thread: number;
  seq: number;
  /** Time since the claim. */
  seconds: number;
  tries: number;
  unit: unknown;
}

/** Time in ms after which a stream without a query is shown. */
const awaitedMs = 1000;

export class Figures {
  /** True once the run has ended. There is no rate then, because the summary has that of the whole run. */
  isOver = false;
  latest: Snapshot | undefined;
  readonly #pace = new Pace();
  #awaitedAt: number | undefined;
  #start: number | undefined;

  /** Seconds since there was something to show. */
  get seconds(): number {
    return this.#start === undefined ? 0 : (performance.now() - this.#start) / 1000;
  }

  /**
   * Takes the next state of the run.
   *
   * @returns false while there is nothing to show: a stream has yielded no query. A short stream soon has its total. A stream that
   * is slow to yield its first query is shown after `awaitedMs`.
   */
  take(snapshot: Snapshot): boolean {
    const { ended, earlier, total, inFlight } = snapshot;
    this.latest = snapshot;
    this.#awaitedAt ??= performance.now();
    const isAwaited = this.#start === undefined && total === undefined && ended - earlier + inFlight().length === 0;
    if (isAwaited && performance.now() - this.#awaitedAt < awaitedMs) return false;
    this.#start ??= performance.now();
    this.#pace.look(this.seconds, snapshot);
    return true;
  }

  /** Returns the texts beside the bar. The first and the last are the most important. */
  texts(): string[] {
    if (!this.latest) return [];
    const { ended, earlier, failed, unknown, total, isAbout, held, waiting } = this.latest;
    const all = total === undefined ? undefined : count(total);
    return [
      all === undefined ? count(ended) : `${count(ended).padStart(all.length)}/${isAbout ? "~" : ""}${all}`,
      !this.isOver && this.#pace.perSecond !== undefined && rate(this.#pace.perSecond),
      earlier > 0 && `${count(earlier)} earlier`,
      !this.isOver && this.#timeLeft(this.latest),
      failed > 0 && `${count(failed)} failed`,
      unknown > 0 && `${count(unknown)} unknown`,
      ...(this.isOver ? [] : [held, waiting].map((reason) => reason !== undefined && printable(reason))),
    ].filter((part) => typeof part === "string");
  }

  /** Returns the time left. Of a stream that has not ended, returns the elapsed time. */
  #timeLeft({ ended, total, held }: Snapshot): string | undefined {
    if (total === undefined) return clock(this.seconds);
    const left = held === undefined && ended !== total ? this.#pace.secondsLeft(this.seconds) : undefined;
    return left === undefined ? undefined : `${about(left)} left`;
  }
}

/** Rounds down. 100 is shown only when all queries have ended. */
export function percent(ended: number, total: number): string {
  return String(Math.floor((ended * 100) / total)).padStart(3);
}

/** Formats a rate with two or three digits. Further digits change too often to be read. */
function rate(perSecond: number): string {
  const [value, unit] =
    perSecond >= 1 ? [perSecond, "s"] : perSecond * 60 >= 1 ? [perSecond * 60, "min"] : [perSecond * 3600, "h"];
  return `${count(Number(value.toPrecision(value < 100 ? 2 : 3)))}/${unit}`;
}

function clock(seconds: number): string {
  const two = (value: number) => String(Math.floor(value) % 60).padStart(2, "0");
  const minutes = `${two(seconds / 60)}:${two(seconds)}`;
  return seconds < 3600 ? minutes.replace(/^0/, "") : `${Math.floor(seconds / 3600)}:${minutes}`;
}

/** Formats a time left. The longer it is, the coarser. */
function about(seconds: number): string {
  const steps = (size: number) => Math.ceil(seconds / size) * size;
  if (seconds <= 20) return `${steps(1)} s`;
  if (seconds <= 120) return `${steps(10)} s`;
  if (seconds <= 3600) return `${steps(60) / 60} min`;
  if (seconds <= 10 * 3600) {
    const minutes = steps(600) / 60;
    return `${Math.floor(minutes / 60)} h${minutes % 60 > 0 ? ` ${minutes % 60} min` : ""}`;
  }
  if (seconds <= 48 * 3600) return `${steps(3600) / 3600} h`;
  return `${steps(86400) / 86400} days`;
}
