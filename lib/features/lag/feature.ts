/** `--max-lag`: a run that waits for the replicas. */
import { UsageError } from "../../command/errors.ts";
import { defineFeature } from "../../command/feature.ts";
import { seconds } from "../../command/flags.ts";

export const feature = defineFeature({
  flags: {
    "max-lag": { value: "S", read: seconds, group: "gently" },
    replicas: { value: "H,...", group: "gently", help: "pause while a replica is further behind" },
    heartbeat: {
      value: "TABLE",
      group: "gently",
      help: "with --max-lag: told by pt-heartbeat's table, not by SHOW REPLICA STATUS",
    },
  },
  check({ maxLag, heartbeat, replicas, given }) {
    if (maxLag !== undefined && replicas === undefined)
      throw new UsageError("--max-lag needs to know the replicas: --replicas db2,db3:3307");
    if (heartbeat !== undefined && replicas === undefined)
      throw new UsageError("--heartbeat goes with --replicas and --max-lag SECONDS");
    // With a socket, the limit may come later.
    if (replicas !== undefined && maxLag === undefined && given.control === undefined)
      throw new UsageError("--replicas goes with --max-lag SECONDS");
  },
  isAsked: ({ maxLag }, { isSteered }) => maxLag !== undefined || isSteered,
  setUp: async ({ maxLag, heartbeat }, context) =>
    (await import("./hook.ts")).watchReplicas(maxLag, heartbeat, context),
});
