/** Showing the queries of a queue instead of running them. */
import type { Reading } from "../shared/reading.ts";
import { isOurs } from "./feed.ts";
import type { Source, WorkOptions } from "./options.ts";
import { canBePrologue } from "./prologue.ts";

type Options = Pick<WorkOptions, "shard" | "signal" | "earlier" | "resumed" | "script">;

/**
 * Shows every query of the queue, or of its shard, that is to be run. Of a resumed run that is also what stands at the top of
 * the input, as each run runs it again.
 */
export async function showAll(
  queue: Source<unknown>,
  show: NonNullable<WorkOptions["dryRun"]>,
  reading: Reading,
  { shard, signal, earlier, resumed = false, script }: Options,
): Promise<void> {
  const areUnits = script !== undefined;
  let isTop = !areUnits;
  reading.begin();
  try {
    for await (const unit of queue) {
      if (signal?.aborted) break;
      const seq = ++reading.seq;
      isTop &&= canBePrologue(unit);
      const isLeft = isOurs(seq, shard) && earlier?.(seq, unit) === undefined;
      if (isLeft || (resumed && isTop)) await show(seq, unit, areUnits);
    }
  } finally {
    reading.end();
  }
}
