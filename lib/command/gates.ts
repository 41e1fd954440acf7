/** What holds queries back: a rate, a loaded server, and the job log, which is written before they can be claimed. */
import type { ConnectionOptions } from "mysql2";
import type { Gate } from "../mp.ts";
import { UsageError } from "./errors.ts";
import { keepLooking, Link } from "./link.ts";

/** Admits `perSecond` queries a second over all workers, evenly; what was not used is not made up for. */
export function rateGate(perSecond: number, workers: number): Gate {
  const burst = Math.max(1, perSecond / 20);
  let admitted = 1;
  let at = performance.now();
  return {
    limit(ended) {
      const now = performance.now();
      admitted = Math.min(admitted + ((now - at) * perSecond) / 1000, ended + workers + burst);
      at = now;
      return admitted;
    },
  };
}

/** Admits only a little more than the workers claim in a tenth of a second: `each` for each, when queries are slow. */
export function nearGate(workers: number, each = 2): Gate {
  const samples: { at: number; ended: number }[] = [];
  return {
    limit(ended) {
      const at = performance.now();
      samples.push({ at, ended });
      while (samples.length > 2 && at - samples[1]!.at > 100) samples.shift();
      return ended + Math.max(each * workers, ended - samples[0]!.ended);
    },
  };
}

/** A limit on one of the server's status variables. */
export interface LoadLimit {
  readonly variable: string;
  readonly most: number;
}

/**
 * Admits nothing while one of the server's status variables is above its limit. A server that is not there has no load.
 *
 * @param where what to call the server where there are several.
 * @returns the gate, and what ends its looking.
 * @throws UsageError for a variable that the server does not have.
 */
export async function loadGate(
  db: ConnectionOptions,
  limits: readonly LoadLimit[],
  where?: string,
): Promise<{ gate: Gate; stop: () => void }> {
  const link = new Link([db]);
  let reason: string | undefined;
  await look();
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
    for (const { variable, most } of limits) {
      const value = Number(values.get(variable.toLowerCase()) ?? Number.NaN);
      if (Number.isNaN(value)) throw new UsageError(`--max-load: the server has no number called ${variable}`);
      if (value > most) reason ??= `paused: ${variable} is ${value}${where ? ` on ${where}` : ""}, above ${most}`;
    }
  }
}
