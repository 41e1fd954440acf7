/** `dryRun`: shows the queries of a queue instead of running them. */
import type { SourceContext } from "../shared/source-context.ts";
import type { Source, WorkOptions } from "./options.ts";
import type { Selection } from "./selection.ts";
import { canBeSetup } from "./session-setup.ts";

type Options = Pick<WorkOptions, "signal" | "resumed" | "script">;

/**
 * Calls `show` with each query that the run would send: those of its shard that no earlier run has ended. If the run is resumed,
 * also with the session statements at the top of the input, because each run sends these again.
 *
 * @throws RefusedError if the input is not that of the earlier runs.
 */
export async function showAll(
  queue: Source<unknown>,
  show: NonNullable<WorkOptions["dryRun"]>,
  context: SourceContext,
  selection: Selection,
  { signal, resumed = false, script }: Options,
): Promise<void> {
  const areUnits = script !== undefined;
  let isTop = !areUnits;
  context.knownTo = Number.POSITIVE_INFINITY; // no query runs, so `ranges()` need not wait for the time of one
  context.begin();
  try {
    for await (const unit of queue) {
      if (signal?.aborted) return;
      const seq = ++context.seq;
      isTop &&= canBeSetup(unit);
      const prepared = selection.prepare(seq, unit);
      if (prepared) await prepared;
      if (selection.select(seq, unit) || (resumed && isTop)) await show(seq, unit, areUnits);
    }
    if (context.seq < selection.knownTo && !signal?.aborted) throw selection.endedAt(context.seq);
  } finally {
    context.end();
  }
}
