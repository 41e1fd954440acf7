/** Gates that hold queries back: a rate, and the load of the server. */
import type { ConnectionOptions } from "mysql2";
import { UsageError } from "../../command/errors.ts";
import { Link, type Watch, watch } from "../../command/link.ts";
import type { Gate } from "../../mp.ts";

/** Limit of queries per second over all workers. It may change, because the gate reads it each time. */
export interface Rate {
  perSecond: number | undefined;
}

/** Returns a gate that admits `rate.perSecond` queries per second, evenly. Time in which fewer ran is not made up for. */
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

/** Limits by flag. Above a `max-load` the run pauses, above a `critical-load` it ends. */
export type LoadLimits = Readonly<Record<"max-load" | "critical-load", readonly LoadLimit[]>>;

/**
 * Watches the server's status variables for those above their limit. A server that cannot be reached counts as one without load.
 *
 * @param end ends the run with the given reason.
 * @param where name of the server, if there are several.
 * @throws UsageError for a variable that the server does not have.
 */
export function watchLoad(
  db: ConnectionOptions,
  limits: LoadLimits,
  end: (reason: string) => void,
  where?: string,
): Promise<Watch> {
  const link = new Link([db]);
  let reason: string | undefined;
  return watch({ look, reason: () => reason, close: () => link.close() });

  async function look(): Promise<void> {
    const rows = await link.rows("SHOW GLOBAL STATUS").catch(() => undefined);
    reason = undefined;
    if (!rows) return; // the workers will report the error of the server
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
      if (Number.isNaN(value)) throw new UsageError(`--${flag}: the server has no numeric status variable ${variable}`);
      if (value > most) found ??= `${variable} is ${value}${where ? ` on ${where}` : ""}, above ${most}`;
    }
    return found;
  }
}

/** Returns the number of a status variable, 1 and 0 for ON and OFF, such as of Galera's `wsrep_flow_control_active`. */
function toNumber(value: string | null | undefined): number {
  if (/^(?:on|true)$/i.test(value ?? "")) return 1;
  return /^(?:off|false)$/i.test(value ?? "") ? 0 : Number(value ?? Number.NaN);
}
