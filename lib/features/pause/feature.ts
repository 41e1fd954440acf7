/** `--pause-file` and `--pause-query`: pause the run from outside. `--max-pause`: the longest pause. */
import { defineFeature } from "../../command/feature.ts";
import { notEmpty, seconds } from "../../command/flags.ts";

export const feature = defineFeature({
  flags: {
    "pause-file": { value: "F", read: notEmpty, group: "gently" },
    "pause-query": { value: "SQL", read: notEmpty, group: "gently" },
    "max-pause": {
      value: "S",
      read: seconds,
      group: "gently",
      help: "pause while F is there or SQL gives no 0, for S seconds at most",
    },
  },
  isAsked: ({ pauseFile, pauseQuery, maxPause }) => (pauseFile ?? pauseQuery ?? maxPause) !== undefined,
  setUp: async (flags, { servers }) => (await import("./hook.ts")).pauseFor(flags, servers),
});
