/** Showing the queries of a queue instead of running them. */
import type { Reading } from "../shared/reading.ts";
import { isInShard, Keys } from "./keys.ts";
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
  const keys = new Keys();
  let isTop = !areUnits;
  reading.begin();
  try {
    for await (const unit of queue) {
      if (signal?.aborted) break;
      const seq = ++reading.seq;
      isTop &&= canBePrologue(unit);
      const isLeft = isInShard(seq, shard, keys.take(seq, unit)) && earlier?.(seq, unit) === undefined;
      if (isLeft || (resumed && isTop)) await show(seq, unit, areUnits);
    }
  } finally {
    reading.end();
  }
}
