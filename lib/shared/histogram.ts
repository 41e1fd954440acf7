/** Percentiles of any number of durations. */

/** Factor from one bucket to the next. A percentile is up to 5 % more than the true one. */
const growth = 1.05;
const smallestMs = 0.001;

/** A log-bucketed histogram of durations in milliseconds. */
export class Histogram {
  readonly #buckets: number[] = [];
  #count = 0;
  #max = 0;

  add(ms: number): void {
    const bucket = Math.max(0, Math.ceil(Math.log(ms / smallestMs) / Math.log(growth)));
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#count++;
    this.#max = Math.max(this.#max, ms);
  }

  /** Returns the duration that `percent` of all do not exceed, 0 if there are none. */
  percentile(percent: number): number {
    const rank = Math.ceil((percent / 100) * this.#count);
    let seen = 0;
    for (const [bucket, count] of this.#buckets.entries()) {
      seen += count ?? 0;
      if (seen >= rank && seen > 0) return Math.min(this.#max, smallestMs * growth ** bucket);
    }
    return 0;
  }

  get max(): number {
    return this.#max;
  }
}
