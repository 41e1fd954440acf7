/** `--ledger`: runs each query exactly once. */
import { defineFeature } from "../../command/feature.ts";
import { notEmpty } from "../../command/flags.ts";
import { count } from "../../parent/text.ts";

const unless = " that the ledger does not have";

export const feature = defineFeature({
  flags: {
    ledger: {
      value: "TABLE",
      read: notEmpty,
      group: "resume",
      help: "exactly once: each query commits with its row in TABLE, which is made",
    },
  },
  inDryRun: true,
  asksServer: ({ ledger }) => ledger !== undefined,
  isAsked: ({ ledger }) => ledger !== undefined,
  setUp: async ({ ledger }) => ({
    options: { ledger },
    decidesUnknown: unless,
    lines: ({ selfCommitted = 0 }) =>
      selfCommitted > 0
        ? [`${count(selfCommitted)} committed by themselves, and were recorded in the ledger after they ran`]
        : [],
    ...(await import("../../command/going-on.ts")).goingOn({ record: "ledger", unless }),
  }),
});
