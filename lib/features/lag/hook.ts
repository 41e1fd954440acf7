/** The lag of the replicas as a limit of a run, which can be changed while it goes on. */
import { UsageError } from "../../command/errors.ts";
import type { Context, Hook } from "../../command/feature.ts";
import { isOff, seconds as readSeconds } from "../../command/flags.ts";
import { Link, WatchSlot } from "../../command/link.ts";
import { type LagLimit, lagGate } from "./lag.ts";

/** @throws UsageError for replicas that are none. */
export async function watchReplicas(
  maxLag: number | undefined,
  heartbeat: string | undefined,
  { servers, replicas }: Pick<Context, "servers" | "replicas">,
): Promise<Hook> {
  const limit: LagLimit = { seconds: Number.POSITIVE_INFINITY };
  const slot = new WatchSlot();
  let isWatching = false;
  if (maxLag !== undefined) await limitLag(maxLag);
  return {
    options: { gates: [slot] },
    dials: [
      {
        name: "max-lag",
        get value() {
          return limit.seconds < Number.POSITIVE_INFINITY ? limit.seconds : null;
        },
        set: (argument) => limitLag(isOff(argument) ? Number.POSITIVE_INFINITY : readSeconds(argument, "max-lag")),
      },
    ],
    close: () => slot.replace(undefined),
  };

  async function limitLag(seconds: number): Promise<void> {
    if (!replicas) throw new UsageError("The replicas were not named at the start: --replicas db2,db3:3307");
    const before = limit.seconds;
    limit.seconds = seconds;
    if (isWatching || seconds === Number.POSITIVE_INFINITY) return;
    try {
      slot.replace(await lagGate(replicas, limit, new Link(servers.map(({ db }) => db)), heartbeat));
      isWatching = true;
    } catch (error) {
      limit.seconds = before;
      throw error;
    }
  }
}
