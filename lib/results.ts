/** What became of the queries: their records in shared memory, and the threads' messages about those that failed. */
import type { Backlog } from "./backlog.ts";
import type { Thread } from "./pool.ts";
import { describeUnit, type Outcome, type Segment } from "./queue.ts";
import { type Ended, Tally } from "./stats.ts";
import type { PlainError } from "./thread.ts";

/** How long after a thread's death its last messages may still come. */
const messagesMs = 1000;

export class Results {
  readonly tally = new Tally();
  readonly #onEnded: ((ended: Ended, unit: unknown) => void) | undefined;
  readonly #errors = new Map<number, PlainError>(); // by seq, until the query's record is read
  #diedAt = Number.NEGATIVE_INFINITY;

  constructor(onEnded?: (ended: Ended, unit: unknown) => void) {
    this.#onEnded = onEnded;
  }

  /** Notes why a query failed or is unknown. */
  explain(seq: number, error: PlainError): void {
    this.#errors.set(seq, error);
  }

  /** Reads the record of a query that has ended; returns false while the message about it is on its way. */
  collect(segment: Segment, index: number, outcome: Outcome): boolean {
    const seq = segment.seq(index);
    let error = this.#errors.get(seq);
    if (!error && (outcome === "failed" || outcome === "unknown")) {
      if (performance.now() - this.#diedAt > messagesMs) return false;
      error = { code: "THREAD_DIED", message: "Its thread died before it could say why" };
    }
    this.#errors.delete(seq);
    const ended = {
      seq,
      outcome,
      ...segment.record(index),
      failure: error && describeFailure(segment.unit(index), error),
    };
    this.tally.add(ended);
    this.#onEnded?.(ended, segment.unit(index));
    return true;
  }

  /**
   * Ends what a thread had in flight when it died, as `unknown`, except what can be run again: that can be claimed anew.
   *
   * @returns how many it ended.
   */
  bury(thread: Thread, cause: string, backlog: Backlog<Thread>, canRunAgain: (unit: unknown) => boolean): number {
    this.#diedAt = performance.now();
    backlog.forget(thread);
    let count = 0;
    for (const { segment, index, worker } of backlog.inFlight()) {
      if (!thread.workers.includes(worker)) continue;
      if (canRunAgain(segment.unit(index))) segment.reopen(index);
      else {
        this.explain(segment.seq(index), { code: "THREAD_DIED", message: `Its thread died: ${cause}` });
        segment.end(index, "unknown", Date.now() - segment.record(index).start, 0);
        count++;
      }
    }
    return count;
  }
}

function describeFailure(unit: unknown, error: PlainError): Ended["failure"] {
  const at = (unit as { at?: unknown } | null)?.at;
  return { ...(typeof at === "string" && { at }), sql: describeUnit(unit), ...error };
}
