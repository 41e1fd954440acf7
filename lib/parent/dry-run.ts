/** `dryRun`: shows the queries of a queue instead of running them. */
import type { SourceContext } from "../shared/source-context.ts";
import { isInShard, Keys } from "./keys.ts";
import type { Source, WorkOptions } from "./options.ts";
import { canBeSetup } from "./session-setup.ts";

type Options = Pick<WorkOptions, "shard" | "signal" | "earlier" | "resumed" | "script">;

/**
 * Calls `show` with each query that the run would send: those of its shard that no earlier run has ended. If the run is resumed,
 * also with the session statements at the top of the input, because each run sends these again.
 */
export async function showAll(
  queue: Source<unknown>,
  show: NonNullable<WorkOptions["dryRun"]>,
  context: SourceContext,
  { shard, signal, earlier, resumed = false, script }: Options,
): Promise<void> {
  const areUnits = script !== undefined;
  const keys = new Keys();
  let isTop = !areUnits;
  context.begin();
  try {
    for await (const unit of queue) {
      if (signal?.aborted) break;
      const seq = ++context.seq;
      isTop &&= canBeSetup(unit);
      const isLeft = isInShard(seq, shard, keys.take(seq, unit)) && earlier?.(seq, unit) === undefined;
      if (isLeft || (resumed && isTop)) await show(seq, unit, areUnits);
    }
  } finally {
    context.end();
  }
}
