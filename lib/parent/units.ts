/** Looking after the units that a script's own `workerDo()` does, which nothing ends but itself. */
import type { Pool } from "./pool.ts";
import type { Records } from "./records.ts";

/** How long a `workerDo()` has, for each try, after its time limit: to end, and to wait before the next try. */
const graceMs = 10_000;
/** One without a time limit is told of after so long. */
const longMs = 5 * 60_000;

/**
 * Returns what ends the threads of units that do not end though their time is up. Without a limit, it tells of the first unit that
 * takes long, once.
 */
export function unitsWatch(records: Records, timeoutSeconds: number | undefined, log: (line: string) => void) {
  let hasTold = false;
  return (pool: Pool): void => {
    if (hasTold) return;
    for (const { segment, index, worker } of records.inFlight()) {
      const { tries, start } = segment.record(index);
      const ms = Date.now() - start;
      if (timeoutSeconds === undefined) {
        if (ms < longMs) continue;
        log(
          `unit ${segment.seq(index)} has been running for ${longMs / 60_000} minutes: without --timeout, nothing ends it`,
        );
        hasTold = true;
        return;
      }
      if (ms < Math.max(1, tries) * (timeoutSeconds * 1000 + graceMs)) continue;
      const why = `workerDo() did not end within ${timeoutSeconds} s, nor when its signal was aborted`;
      pool.terminateThreadOf(worker, why);
    }
  };
}
