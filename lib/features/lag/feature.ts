/** `--max-lag`: pauses the run while a replica is too far behind. */
import { readHosts } from "../../command/config.ts";
import { UsageError } from "../../command/errors.ts";
import { defineFeature } from "../../command/feature.ts";
import { notEmpty, type Reader, seconds } from "../../command/flags.ts";
import type { Replicas } from "./hook.ts";

const readReplicas: Reader<Replicas> = (text, name) => (text === "auto" ? text : readHosts(notEmpty(text, name), name));

export const feature = defineFeature({
  flags: {
    "max-lag": { value: "S", read: seconds, group: "gently" },
    replicas: { value: "H,...", read: readReplicas, group: "gently" },
    channel: { value: "NAME", read: notEmpty, group: "gently" },
    heartbeat: {
      value: "TABLE",
      read: notEmpty,
      group: "gently",
      help: "pause while a replica is further behind; auto: any that the server knows",
    },
  },
  check({ maxLag, heartbeat, channel, replicas }, isSteered) {
    if (maxLag !== undefined && replicas === undefined)
      throw new UsageError("--max-lag needs to know the replicas: --replicas db2,db3:3307, or auto");
    for (const [name, value] of Object.entries({ heartbeat, channel })) {
      if (value !== undefined && replicas === undefined)
        throw new UsageError(`--${name} goes with --replicas and --max-lag SECONDS`);
    }
    if (heartbeat !== undefined && channel !== undefined)
      throw new UsageError("--channel contradicts --heartbeat, whose table tells the lag");
    // With --control, the limit may be set later.
    if (replicas !== undefined && maxLag === undefined && !isSteered)
      throw new UsageError("--replicas goes with --max-lag SECONDS");
  },
  isAsked: ({ maxLag }, { isSteered }) => maxLag !== undefined || isSteered,
  setUp: async (flags, context) => (await import("./hook.ts")).watchReplicas(flags, context),
});
