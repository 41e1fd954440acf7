/** Limits the rate and the load of a run. Both can be changed while it goes on. */
import type { Context, Dial, Hook } from "../../command/feature.ts";
import { WatchGate } from "../../command/link.ts";
import { readLoadLimits, readRate } from "./flags.ts";
import { type LoadLimit, type LoadLimits, type Rate, rateGate, watchLoad } from "./gates.ts";

interface ThrottleFlags {
  readonly rate?: number | undefined;
  readonly maxLoad?: readonly LoadLimit[] | undefined;
  readonly criticalLoad?: readonly LoadLimit[] | undefined;
}

/** @throws UsageError for a variable that the server does not have. */
export async function throttle(
  { rate: perSecond, maxLoad = [], criticalLoad = [] }: ThrottleFlags,
  { servers, drain }: Pick<Context, "servers" | "drain">,
): Promise<Hook> {
  const rate: Rate = { perSecond };
  const load = new WatchGate();
  let limits: LoadLimits = { "max-load": [], "critical-load": [] };
  await limitLoad({ "max-load": maxLoad, "critical-load": criticalLoad });
  return {
    options: { gates: [rateGate(rate), load] },
    dials: [
      {
        name: "rate",
        get value() {
          return rate.perSecond ?? null;
        },
        set(argument) {
          rate.perSecond = argument === "off" ? undefined : readRate(argument, "rate");
        },
      },
      loadDial("max-load"),
      loadDial("critical-load"),
    ],
    close: () => load.stop(),
  };

  function loadDial(name: keyof LoadLimits): Dial {
    return {
      name,
      get value() {
        return limits[name].map(({ variable, most }) => `${variable}=${most}`).join(",") || null;
      },
      set: (argument) => limitLoad({ ...limits, [name]: argument === "off" ? [] : readLoadLimits(argument, name) }),
    };
  }

  async function limitLoad(wanted: LoadLimits): Promise<void> {
    const isAny = Object.values(wanted).some(({ length }) => length > 0);
    const end = (reason: string) => drain.abort(reason);
    await load.replace(isAny ? servers.map(({ db, where }) => watchLoad(db, wanted, end, where)) : []);
    limits = wanted;
  }
}
