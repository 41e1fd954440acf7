/** Durations, counted so that percentiles can be told of any number of them. */

/** Each bucket of the histogram is this much wider than the one below: a percentile is up to 5 % more than the true one. */
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

  /** The duration that `percent` of all stay within; 0 when there are none. */
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
