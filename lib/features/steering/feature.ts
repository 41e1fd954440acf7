/** Changes a run while it goes on, by keys on a terminal and by `--control`. */
import { UsageError } from "../../command/errors.ts";
import { defineFeature } from "../../command/feature.ts";
import { count, notEmpty } from "../../command/flags.ts";
import { limits } from "../../parent/options.ts";

export const feature = defineFeature({
  flags: {
    control: {
      value: "SOCKET",
      read: notEmpty,
      group: "gently",
    },
    "max-workers": {
      value: "N",
      read: count(1, limits.workers),
      group: "gently",
      help: "lines such as pause, rate 200, workers N change the run",
    },
  },
  check({ control, workers, maxWorkers }) {
    if (maxWorkers === undefined) return;
    if (control === undefined) throw new UsageError("--max-workers goes with --control SOCKET");
    if (maxWorkers < workers)
      throw new UsageError(
        `--max-workers ${maxWorkers} contradicts --workers ${workers}: it is the most that there may be`,
      );
  },
  steers: ({ control }, hasKeys) => control !== undefined || hasKeys,
  isAsked: (_, { isSteered }) => isSteered,
  setUp: async (flags, context) => (await import("./hook.ts")).steer(flags, context),
});
