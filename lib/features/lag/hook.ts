/** Limits the lag of the replicas during a run. The limit can be changed while it goes on. */
import type { Address } from "../../command/config.ts";
import { UsageError } from "../../command/errors.ts";
import type { Context, Hook } from "../../command/feature.ts";
import { seconds as readSeconds } from "../../command/flags.ts";
import { Link, WatchGate } from "../../command/link.ts";
import { foundReplicas } from "./found.ts";
import { Heartbeat } from "./heartbeat.ts";
import { type LagLimit, type LagWatch, watchLag } from "./lag.ts";

/** Addresses of the replicas. `auto`: those that the server knows of. */
export type Replicas = readonly Address[] | "auto";

interface LagFlags {
  readonly maxLag?: number | undefined;
  readonly replicas?: Replicas | undefined;
  readonly channel?: string | undefined;
  readonly heartbeat?: string | undefined;
}

/** @throws UsageError if a server is not a replica. */
export async function watchReplicas(
  { maxLag, replicas, channel, heartbeat }: LagFlags,
  { server, servers, progress }: Pick<Context, "server" | "servers" | "progress">,
): Promise<Hook> {
  const limit: LagLimit = { seconds: Number.POSITIVE_INFINITY };
  const gate = new WatchGate();
  let watch: LagWatch | undefined;
  if (maxLag !== undefined) await limitLag(maxLag);
  return {
    options: { gates: [gate] },
    dials: [
      {
        name: "max-lag",
        get value() {
          return limit.seconds < Number.POSITIVE_INFINITY ? limit.seconds : null;
        },
        set: (argument) => limitLag(argument === "off" ? Number.POSITIVE_INFINITY : readSeconds(argument, "max-lag")),
      },
    ],
    close: () => gate.stop(),
  };

  async function limitLag(seconds: number): Promise<void> {
    if (!replicas) throw new UsageError("The replicas were not named at the start: --replicas db2,db3:3307, or auto");
    const before = limit.seconds;
    limit.seconds = seconds;
    try {
      watch?.checkLimit();
      if (watch || seconds === Number.POSITIVE_INFINITY) return;
      const begun = begin(replicas);
      await gate.replace([begun]);
      watch = await begun;
    } catch (error) {
      limit.seconds = before;
      throw error;
    }
  }

  async function begin(replicas: Replicas): Promise<LagWatch> {
    if (!server) throw new UsageError("--replicas needs a server that is named: the sandbox has none");
    const dbs = servers.map(({ db }) => db);
    const links: Link[] = [];
    const link = (these: typeof dbs) => {
      const made = new Link(these);
      links.push(made);
      return made;
    };
    const beat = heartbeat === undefined ? undefined : new Heartbeat(heartbeat, dbs[0]?.database, link(dbs));
    const named = replicas === "auto" ? undefined : server.others(replicas);
    const sources = named ? [] : dbs.map((db) => link([db]));
    return watchLag(limit, {
      find: async () => named ?? server.others(await foundReplicas(sources)),
      mayChange: named === undefined,
      ...{ beat, channel },
      log: (line) => progress.log(line),
      close() {
        for (const each of links) each.close();
      },
    });
  }
}
