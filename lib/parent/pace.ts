/** Estimates the rate of a run and the time left, in figures that are calm enough to be read. */

/** Counts of a run, as in the snapshot for the bar. */
interface Counted {
  readonly ended: number;
  readonly earlier: number;
  readonly total: number | undefined;
  readonly inFlight: () => readonly unknown[];
}

interface Moment {
  /** Time on a monotonic clock. */
  seconds: number;
  /** Queries that this run has ended. */
  ended: number;
  /** Queries of this run that have not ended. Undefined if the total is unknown. */
  left: number | undefined;
  /** Number of these that are in flight. */
  inFlight: number;
}

/** Time between two samples. The bar is drawn ten times a second, and its rate changes once. */
const stepSeconds = 1;
/** The rate covers the last half of the run, within these bounds. */
const windowSeconds = { least: 5, most: 60 };
/** Slow queries end in bursts, one from each worker. Bursts that the rate covers, and bursts before the time left is shown. */
const rounds = 8;
const roundsBefore = 4;
/** Most samples that are kept, however slow the queries are. */
const mostMoments = 3600;
/** An estimate counts down until a new one differs by more than this part of it and by more than these seconds. */
const tolerance = { part: 0.15, seconds: 2 };

export class Pace {
  /** Queries per second. Undefined until it can be measured. */
  perSecond: number | undefined;
  readonly #moments: (Moment & { grew: boolean })[] = [];
  #start: number | undefined;
  #endsAt: number | undefined;

  /** Takes a sample of the run if the last one is old enough. Call it often. */
  look(seconds: number, run: Counted): void {
    const last = this.#moments.at(-1);
    if (last && seconds - last.seconds < stepSeconds) return;
    const left = run.total === undefined ? undefined : run.total - run.ended;
    const now = { seconds, ended: run.ended - run.earlier, left, inFlight: run.inFlight().length };
    // Before the first claim the workers are starting. That time is not part of the rate.
    if (last || now.inFlight + now.ended > 0) this.#add(now);
  }

  /** Returns the estimated seconds until the end, undefined if there is no estimate. */
  secondsLeft(seconds: number): number | undefined {
    return this.#endsAt === undefined ? undefined : Math.max(this.#endsAt - seconds, 1);
  }

  #add(now: Moment): void {
    const moments = this.#moments;
    const { least, most } = windowSeconds;
    this.#start ??= now.seconds;
    const window = Math.min(Math.max((now.seconds - this.#start) / 2, least), most);
    moments.push({ ...now, grew: now.ended !== moments.at(-1)?.ended });
    const suffices = ({ seconds, ended }: Moment) =>
      now.seconds - seconds >= window && now.ended - ended >= rounds * now.inFlight;
    while (moments.length > 2 && (suffices(moments[1]!) || moments.length > mostMoments)) moments.shift();
    // Measures from one query's end to another's. Otherwise the rate would fall between two bursts, and leap at each.
    const ends = moments.filter((moment) => moment.grew);
    const isLate = now.seconds - (ends.at(-1)?.seconds ?? 0) > Math.max(2 * this.#roundSeconds(now), stepSeconds);
    const [from, to] = isLate || ends.length < 2 ? [moments[0]!, now] : [ends[0]!, ends.at(-1)!];
    if (to.ended > from.ended || isLate) this.perSecond = (to.ended - from.ended) / (to.seconds - from.seconds);
    this.#estimate(now, to.seconds);
  }

  #estimate({ seconds, ended, left, inFlight }: Moment, from: number): void {
    // The first queries give no rate yet, and the last ones none any more.
    if (!this.perSecond || left === undefined || left <= inFlight || ended < roundsBefore * inFlight) {
      if (!(this.secondsLeft(seconds)! > 1)) this.#endsAt = undefined;
      return;
    }
    const endsAt = from + left / this.perSecond;
    const off = Math.abs(endsAt - (this.#endsAt ?? Number.POSITIVE_INFINITY));
    if (off > Math.max(tolerance.part * (endsAt - seconds), tolerance.seconds)) this.#endsAt = endsAt;
  }

  /** Returns the seconds in which each worker ends one query. */
  #roundSeconds({ inFlight }: Moment): number {
    return this.perSecond ? inFlight / this.perSecond : Number.POSITIVE_INFINITY;
  }
}
