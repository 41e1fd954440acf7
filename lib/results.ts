/** What became of the queries: their records in shared memory, and the threads' messages about those that failed. */
import type { Backlog } from "./backlog.ts";
import type { Thread } from "./pool.ts";
import type { Outcome, Segment } from "./queue.ts";
import { type Ended, Tally } from "./stats.ts";
import type { PlainError } from "./thread.ts";
import { describeUnit } from "./unit.ts";

/** What was in flight when so many threads died is not run again. */
const deathsSurvived = 2;

export class Results {
  readonly tally = new Tally();
  readonly #onEnded: ((ended: Ended, unit: unknown) => void) | undefined;
  readonly #onError: (error: unknown) => void;
  readonly #errors = new Map<number, PlainError>(); // by seq, until the query's record is read

  /** `onEnded` may throw: `onError` is told. */
  constructor(onEnded: ((ended: Ended, unit: unknown) => void) | undefined, onError: (error: unknown) => void) {
    this.#onEnded = onEnded;
    this.#onError = onError;
  }

  /** Notes why a query failed or is unknown. */
  explain(seq: number, error: PlainError): void {
    this.#errors.set(seq, error);
  }

  /** Reads the record of a query that has ended; returns false while the message about it is on its way. */
  collect(segment: Segment, index: number, outcome: Outcome): boolean {
    const seq = segment.seq(index);
    const error = this.#errors.get(seq);
    if (!error && hasCause(outcome)) return false;
    this.#errors.delete(seq);
    const ended = {
      seq,
      outcome,
      ...segment.record(index),
      failure: error && describeFailure(segment.unit(index), error),
    };
    this.tally.add(ended);
    try {
      this.#onEnded?.(ended, segment.unit(index));
    } catch (thrown) {
      this.#onError(thrown);
    }
    return true;
  }

  /**
   * Ends what a thread had in flight when it died, as `unknown`, except what can be run again: that can be claimed anew. Rows
   * that are on their way would be given twice. What had ended before gets a cause when the thread could not tell it.
   *
   * @returns how many it ended.
   */
  bury(thread: Thread, cause: string, backlog: Backlog<Thread>, canRunAgain: (unit: unknown) => boolean): number {
    backlog.forget(thread);
    let count = 0;
    for (const { segment, index, worker, outcome } of backlog.claimed()) {
      if (!thread.workers.includes(worker)) continue;
      const seq = segment.seq(index);
      const { tries, rows, start } = segment.record(index);
      if (outcome) {
        // All of the thread's messages have arrived by now: what is missing will not come.
        if (hasCause(outcome) && !this.#errors.has(seq)) this.explain(seq, threadDied(cause));
      } else if (tries <= deathsSurvived && rows === 0 && canRunAgain(segment.unit(index))) {
        segment.reopen(index, true);
      } else {
        this.explain(seq, threadDied(cause));
        segment.end(index, "unknown", Date.now() - start, 0);
        count++;
      }
    }
    return count;
  }
}

/** Whether a message tells why. */
function hasCause(outcome: Outcome): boolean {
  return outcome === "failed" || outcome === "unknown";
}

function threadDied(cause: string): PlainError {
  return { code: "THREAD_DIED", message: `Its thread died: ${cause}` };
}

function describeFailure(unit: unknown, error: PlainError): Ended["failure"] {
  const at = (unit as { at?: unknown } | null)?.at;
  return { ...(typeof at === "string" && { at }), sql: describeUnit(unit), ...error };
}
