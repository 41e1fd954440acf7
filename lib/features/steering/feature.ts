/** A run that can be changed while it goes on: by keys on a terminal, and by `--control`. */
import { defineFeature } from "../../command/feature.ts";
import { notEmpty } from "../../command/flags.ts";

export const feature = defineFeature({
  flags: {
    control: {
      value: "SOCKET",
      read: notEmpty,
      group: "gently",
      help: "changes the run while it goes on: a line such as status, pause, rate 200",
    },
  },
  steers: ({ control }, hasKeys) => control !== undefined || hasKeys,
  isAsked: (_, { isSteered }) => isSteered,
  setUp: async ({ control, workers }, context) => (await import("./hook.ts")).steer(control, workers, context),
});
