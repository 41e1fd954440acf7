/** `--joblog`: records the outcome of each query on disk. `--resume` goes on with it. */
import { UsageError } from "../../command/errors.ts";
import { defineFeature } from "../../command/feature.ts";
import { notEmpty } from "../../command/flags.ts";

export const feature = defineFeature({
  flags: {
    joblog: {
      value: "F",
      read: notEmpty,
      group: "resume",
      help: "write down what was released to the workers and what became of it",
    },
    resume: { group: "resume", help: "go on with it; with --dry-run: only print what is left, as SQL or NDJSON" },
    "retry-failed": { group: "resume" },
    "retry-unknown": { group: "resume", help: "with --resume: run these again, not only what was not run" },
  },
  check({ joblog, resume, retryFailed, retryUnknown }) {
    if (resume && joblog === undefined) throw new UsageError("--resume needs a job log: --joblog FILE");
    if (resume || !(retryFailed || retryUnknown)) return;
    throw new UsageError(`--retry-${retryFailed ? "failed" : "unknown"} goes with --resume`);
  },
  inDryRun: true,
  isAsked: ({ joblog, resume, dryRun }) => joblog !== undefined && (resume || !dryRun),
  setUp: async (flags, context) => (await import("./hook.ts")).keepJobLog(flags.joblog!, flags, context),
});
