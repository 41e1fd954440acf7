/** `--rate` and `--max-load`: a run that leaves the server its air. */
import { defineFeature } from "../../command/feature.ts";
import { readLoadLimits, readRate } from "./flags.ts";

export const feature = defineFeature({
  flags: {
    rate: { value: "N", read: readRate, group: "gently", help: "queries a second over all workers" },
    "max-load": {
      value: "VARIABLE=N,...",
      read: readLoadLimits,
      group: "gently",
      help: "pause while a status variable of the server is above N",
    },
  },
  isAsked: ({ rate, maxLoad }, { isSteered }) => rate !== undefined || maxLoad !== undefined || isSteered,
  setUp: async ({ rate, maxLoad, workers }, { servers }) =>
    (await import("./hook.ts")).throttle(rate, maxLoad, workers, servers),
});
