/** Tries one host after the other, and all of them again, until an attempt succeeds or the time is up. */
import { setTimeout as sleep } from "node:timers/promises";
import { backoffMs, type DatabaseError, isTransient } from "./errors.ts";

interface ReachOptions {
  /** The number of hosts to try before a pause. */
  readonly hosts: number;
  readonly timeoutMs: number;
  /** The most time in ms for one attempt. @default 10,000 */
  readonly tryMs?: number;
  /** Returns true for a transient error. All hosts are then tried again. @default isTransient */
  readonly mayPass?: (error: DatabaseError) => boolean;
  /** Called once, before the first pause. */
  readonly onWait?: (error: DatabaseError) => void;
  /** Ends the tries when it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls `attempt` once for each host. If one of the errors is transient, pauses with backoff and starts over.
 *
 * @param attempt tries the next host within `timeoutMs`.
 * @returns the result of the first attempt that succeeded.
 * @throws the last error that was not ETIMEDOUT, because that tells more than a timeout. ETIMEDOUT if there was no other.
 */
export async function reach<Result>(
  attempt: (timeoutMs: number) => Promise<Result>,
  { hosts, timeoutMs, tryMs = 10_000, mayPass = isTransient, onWait, signal }: ReachOptions,
): Promise<Result> {
  const deadline = performance.now() + timeoutMs;
  let failure: DatabaseError | undefined;
  for (let round = 1; ; round++) {
    let isPassing = false;
    for (let untried = hosts; untried > 0 && !signal?.aborted; untried--) {
      const share = (deadline - performance.now()) / untried;
      try {
        return await attempt(Math.ceil(Math.min(tryMs, Math.max(share, 1))));
      } catch (thrown) {
        const error = thrown as DatabaseError;
        if (failure === undefined || error.code !== "ETIMEDOUT") failure = error;
        isPassing ||= mayPass(error);
      }
    }
    const waitMs = backoffMs(round);
    if (signal?.aborted || !isPassing || performance.now() + waitMs > deadline)
      throw failure ?? new Error("interrupted");
    if (round === 1) onWait?.(failure!);
    await sleep(waitMs, undefined, { signal }).catch(() => {});
  }
}
