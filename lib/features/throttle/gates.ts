/** What holds queries back: a rate, and a loaded server. */
import type { ConnectionOptions } from "mysql2";
import { UsageError } from "../../command/errors.ts";
import { keepLooking, Link, type Watch } from "../../command/link.ts";
import type { Gate } from "../../mp.ts";

/** Queries a second over all workers, if there is a limit; it is read each time, and may change. */
export interface Rate {
  perSecond: number | undefined;
}

/** Admits so many queries a second over all workers, evenly; what was not used is not made up for. */
export function rateGate(rate: Rate): Gate {
  let admitted: number | undefined;
  let at = performance.now();
  return {
    limit(ended, workers) {
      const { perSecond } = rate;
      const now = performance.now();
      const more = (now - at) * ((perSecond ?? 0) / 1000);
      at = now;
      if (perSecond === undefined) {
        admitted = undefined;
        return Number.POSITIVE_INFINITY;
      }
      const burst = Math.max(1, perSecond / 20);
      admitted = admitted === undefined ? ended + 1 : Math.min(admitted + more, ended + workers + burst);
      return admitted;
    },
  };
}

/** A limit on one of the server's status variables. */
export interface LoadLimit {
  readonly variable: string;
  readonly most: number;
}

/** Limits by the flags that set them: above the first the run pauses, above the second it ends. */
export type LoadLimits = Readonly<Record<"max-load" | "critical-load", readonly LoadLimit[]>>;

/** The same for several servers, with what to call them: the most loaded one decides. */
export async function loadGates(
  servers: readonly { readonly db: ConnectionOptions; readonly where?: string }[],
  limits: LoadLimits,
  end: (reason: string) => void,
): Promise<Watch> {
  const begun = await Promise.allSettled(servers.map(({ db, where }) => loadGate(db, limits, end, where)));
  const watches = begun.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const stop = () => {
    for (const watch of watches) watch.stop();
  };
  const refused = begun.find((each) => each.status === "rejected");
  if (refused) {
    stop();
    throw refused.reason;
  }
  const gate: Gate = {
    limit: (ended, workers) => Math.min(...watches.map((watch) => watch.gate.limit(ended, workers))),
    get reason() {
      return watches.find((watch) => watch.gate.reason !== undefined)?.gate.reason;
    },
  };
  return { gate, stop };
}

/**
 * Admits nothing while one of the server's status variables is above its limit. A server that is not there has no load.
 *
 * @param end ends the run, for the reason that it is given.
 * @param where what to call the server where there are several.
 * @returns the gate, and what ends its looking.
 * @throws UsageError for a variable that the server does not have.
 */
export async function loadGate(
  db: ConnectionOptions,
  limits: LoadLimits,
  end: (reason: string) => void,
  where?: string,
): Promise<Watch> {
  const link = new Link([db]);
  let reason: string | undefined;
  await look().catch((error) => {
    link.close();
    throw error;
  });
  const stopLooking = keepLooking(look);
  const gate: Gate = {
    limit: (ended) => (reason === undefined ? Number.POSITIVE_INFINITY : ended),
    get reason() {
      return reason;
    },
  };
  return {
    gate,
    stop() {
      stopLooking();
      link.close();
    },
  };

  async function look(): Promise<void> {
    const rows = await link.rows("SHOW GLOBAL STATUS").catch(() => undefined);
    reason = undefined;
    if (!rows) return; // the workers will say what is wrong with the server
    const values = new Map(rows.map((row) => [row.get("variable_name")?.toLowerCase(), row.get("value")]));
    const critical = firstAbove("critical-load", values);
    if (critical !== undefined) end(`${critical}: --critical-load`);
    const high = firstAbove("max-load", values);
    if (high !== undefined) reason = `paused: ${high}`;
  }

  function firstAbove(flag: keyof LoadLimits, values: ReadonlyMap<string | undefined, string | null | undefined>) {
    let found: string | undefined;
    for (const { variable, most } of limits[flag]) {
      const value = toNumber(values.get(variable.toLowerCase()));
      if (Number.isNaN(value)) throw new UsageError(`--${flag}: the server has no number called ${variable}`);
      if (value > most) found ??= `${variable} is ${value}${where ? ` on ${where}` : ""}, above ${most}`;
    }
    return found;
  }
}

/** Returns 1 and 0 for what is on and off, such as Galera's `wsrep_flow_control_active`. */
function toNumber(value: string | null | undefined): number {
  if (/^(?:on|true)$/i.test(value ?? "")) return 1;
  return /^(?:off|false)$/i.test(value ?? "") ? 0 : Number(value ?? Number.NaN);
}
