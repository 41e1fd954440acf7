/** Trying one host after the other, and all of them again, until one does what is wanted or the time is up. */
import { setTimeout as sleep } from "node:timers/promises";
import { backoffMs, type DatabaseError, isTransient } from "./errors.ts";

/** How long one host may take while there are others, or another try. */
const tryMs = 10_000;

/** How somebody waits, and what ends it early. */
interface Waiter {
  readonly isOver: () => boolean;
  readonly pause: (ms: number) => Promise<void>;
}

export interface ReachOptions extends Waiter {
  /** How many hosts are tried before the first pause. @default 1 */
  readonly hosts?: number;
  readonly timeoutMs: number;
  /** @default 10 s */
  readonly tryMs?: number;
  /** True for an error that may pass by itself: then all hosts are tried again. @default isTransient */
  readonly mayPass?: (error: DatabaseError) => boolean;
  /** Is called once, before the first pause. */
  readonly onWait?: (error: DatabaseError) => void;
}

/**
 * Calls `attempt` once for each host, and again after growing pauses as long as the reason for one of the failures may pass.
 *
 * @param attempt takes the next host; it gets how many milliseconds it may take.
 * @returns what the first attempt returned that did not fail.
 * @throws what the last failure of a server was: that tells more than a timeout.
 */
export async function reach<Result>(
  attempt: (timeoutMs: number) => Promise<Result>,
  { hosts = 1, timeoutMs, tryMs: mostMs = tryMs, mayPass = isTransient, onWait, isOver, pause }: ReachOptions,
): Promise<Result> {
  const deadline = performance.now() + timeoutMs;
  let failure: DatabaseError | undefined;
  for (let round = 1; ; round++) {
    let isPassing = false;
    for (let untried = hosts; untried > 0 && !isOver(); untried--) {
      const share = (deadline - performance.now()) / untried;
      try {
        return await attempt(Math.ceil(Math.min(mostMs, Math.max(share, 1))));
      } catch (thrown) {
        const error = thrown as DatabaseError;
        if (failure === undefined || error.code !== "ETIMEDOUT") failure = error;
        isPassing ||= mayPass(error);
      }
    }
    const waitMs = backoffMs(round);
    if (isOver() || !isPassing || performance.now() + waitMs > deadline) throw failure ?? new Error("interrupted");
    if (round === 1) onWait?.(failure!);
    await pause(waitMs);
  }
}

/** Waits until the signal is aborted, at the longest. */
export function untilAborted(signal: AbortSignal | undefined): Waiter {
  return {
    isOver: () => signal?.aborted === true,
    pause: (ms) => sleep(ms, undefined, { signal }).catch(() => {}),
  };
}
