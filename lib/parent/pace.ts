/** How fast a run is, and how long it will still take: figures that stay calm enough to be read. */

export interface Moment {
  /** On a clock that only goes forward. */
  seconds: number;
  /** Queries that this run has ended. */
  ended: number;
  /** Queries that it has still to end, where that is known. */
  left: number | undefined;
  /** How many of these are being run. */
  inFlight: number;
}

/** Between two looks: what is drawn ten times a second has a rate that changes once. */
const stepSeconds = 1;
/** The rate is that of the last half of the run, within these bounds. */
const windowSeconds = { least: 5, most: 60 };
/** Slow queries end in bursts, one from each worker: it takes so many of these to make a rate, and to tell the time left. */
const rounds = 8;
const roundsBefore = 4;
/** No more moments than these are kept, however slow the queries are. */
const mostMoments = 3600;
/** An estimate is kept, and counts down, until a new one differs by more than this part of it and these seconds. */
const tolerance = { part: 0.15, seconds: 2 };

export class Pace {
  readonly #moments: (Moment & { grew: boolean })[] = [];
  #start: number | undefined;
  #perSecond: number | undefined;
  #endsAt: number | undefined;

  /** Takes a look at the run when it is time to; is to be called often. */
  look(seconds: number, look: () => Omit<Moment, "seconds">): void {
    const last = this.#moments.at(-1);
    if (last && seconds - last.seconds < stepSeconds) return;
    const now = { seconds, ...look() };
    // Until a query is claimed, the workers are being started: that is no part of the rate.
    if (last || now.inFlight + now.ended > 0) this.#add(now);
  }

  /** Queries per second; undefined until there is something to tell it from. */
  get perSecond(): number | undefined {
    return this.#perSecond;
  }

  /** How long the rest will take; undefined while nobody can tell. */
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
    // From one end to another: in between the rate would fall all the time, and leap with the next burst.
    const ends = moments.filter((moment) => moment.grew);
    const isLate = now.seconds - (ends.at(-1)?.seconds ?? 0) > Math.max(2 * this.#roundSeconds(now), stepSeconds);
    const [from, to] = isLate || ends.length < 2 ? [moments[0]!, now] : [ends[0]!, ends.at(-1)!];
    if (to.ended > from.ended || isLate) this.#perSecond = (to.ended - from.ended) / (to.seconds - from.seconds);
    this.#estimate(now, to.seconds);
  }

  #estimate({ seconds, ended, left, inFlight }: Moment, from: number): void {
    // With the last ones running there is no rate any more, and with the first ones no rate yet.
    if (!this.#perSecond || left === undefined || left <= inFlight || ended < roundsBefore * inFlight) {
      if (!(this.secondsLeft(seconds)! > 1)) this.#endsAt = undefined;
      return;
    }
    const endsAt = from + left / this.#perSecond;
    const off = Math.abs(endsAt - (this.#endsAt ?? Number.POSITIVE_INFINITY));
    if (off > Math.max(tolerance.part * (endsAt - seconds), tolerance.seconds)) this.#endsAt = endsAt;
  }

  /** How long it takes until each worker has ended one. */
  #roundSeconds({ inFlight }: Moment): number {
    return this.#perSecond ? inFlight / this.#perSecond : Number.POSITIVE_INFINITY;
  }
}
