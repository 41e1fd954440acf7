/** `--rows`: prints the rows of the queries on stdout. */
import { UsageError } from "../../command/errors.ts";
import { defineFeature } from "../../command/feature.ts";

export const feature = defineFeature({
  flags: { rows: { group: "output", help: 'rows on stdout, as NDJSON: {"seq":12,"row":{...}}' } },
  check({ rows, dryRun }) {
    if (rows && dryRun) throw new UsageError("--rows contradicts --dry-run, which runs nothing");
  },
  writesData: ({ rows }) => rows,
  isAsked: ({ rows }) => rows,
  setUp: async (_, context) => (await import("./hook.ts")).writeRows(context),
});
