/** Watches the units of a script's own `workerDo()`. No timeout of the server ends them. */
import type { Pool } from "./pool.ts";
import type { Records } from "./records.ts";

/** Time in ms that each try of a unit has after its time limit, to end and to wait before the next try. */
const graceMs = 10_000;
/** Time in ms after which a unit without a time limit is reported. */
const longMs = 5 * 60_000;

/**
 * Returns a function that ends the thread of each unit that is over its time limit. Without a limit, it only reports the first
 * unit that takes long, once.
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
