/** The rate and the load as limits of a run, which can be changed while it goes on. */
import type { Context, Hook } from "../../command/feature.ts";
import { isOff } from "../../command/flags.ts";
import { WatchSlot } from "../../command/link.ts";
import { readLoadLimits, readRate } from "./flags.ts";
import { type LoadLimit, loadGates, type Rate, rateGate } from "./gates.ts";

/** @throws UsageError for a variable that the server does not have. */
export async function throttle(
  perSecond: number | undefined,
  maxLoad: readonly LoadLimit[] | undefined,
  workers: number,
  servers: Context["servers"],
): Promise<Hook> {
  const rate: Rate = { perSecond };
  const slot = new WatchSlot();
  let limits: readonly LoadLimit[] = [];
  if (maxLoad) await limitLoad(maxLoad);
  return {
    options: { gates: [rateGate(rate, workers), slot] },
    dials: [
      {
        name: "rate",
        get value() {
          return rate.perSecond ?? null;
        },
        set(argument) {
          rate.perSecond = isOff(argument) ? undefined : readRate(argument, "rate");
        },
      },
      {
        name: "max-load",
        get value() {
          return limits.map(({ variable, most }) => `${variable}=${most}`).join(",") || null;
        },
        set: (argument) => limitLoad(isOff(argument) ? [] : readLoadLimits(argument, "max-load")),
      },
    ],
    close: () => slot.replace(undefined),
  };

  async function limitLoad(wanted: readonly LoadLimit[]): Promise<void> {
    slot.replace(wanted.length > 0 ? await loadGates(servers, wanted) : undefined);
    limits = wanted;
  }
}
