/** `--rate`, `--max-load` and `--critical-load`: limit the load on the server. */
import { defineFeature } from "../../command/feature.ts";
import { readLoadLimits, readRate } from "./flags.ts";

export const feature = defineFeature({
  flags: {
    rate: { value: "N", read: readRate, group: "gently", help: "queries a second over all workers" },
    "max-load": { value: "VARIABLE=N,...", read: readLoadLimits, group: "gently" },
    "critical-load": {
      value: "VARIABLE=N,...",
      read: readLoadLimits,
      group: "gently",
      help: "pause, or end the run, while a status variable of the server is above N",
    },
  },
  isAsked: ({ rate, maxLoad, criticalLoad }, { isSteered }) =>
    (rate ?? maxLoad ?? criticalLoad) !== undefined || isSteered,
  setUp: async (flags, context) => (await import("./hook.ts")).throttle(flags, context),
});
