/** What holds queries back: a rate, a loaded server, and the job log, which is written before they can be claimed. */
import mysql, { type ConnectionOptions, type RowDataPacket } from "mysql2/promise";
import type { Gate } from "../mp.ts";
import { UsageError } from "./errors.ts";

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

/** Admits only a little more than the workers claim in a tenth of a second: two for each, when queries are slow. */
export function nearGate(workers: number): Gate {
  const samples: { at: number; ended: number }[] = [];
  return {
    limit(ended) {
      const at = performance.now();
      samples.push({ at, ended });
      while (samples.length > 2 && at - samples[1]!.at > 100) samples.shift();
      return ended + Math.max(2 * workers, ended - samples[0]!.ended);
    },
  };
}

/** How often the server's load is looked at. */
const lookMs = 500;
/** A server that takes longer to tell has no say. */
const answerMs = 2000;

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
  let connection: mysql.Connection | undefined;
  let reason: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  await look().catch(unreachable);
  schedule();
  const gate: Gate = {
    limit: (ended) => (reason === undefined ? Number.POSITIVE_INFINITY : ended),
    get reason() {
      return reason;
    },
  };
  return {
    gate,
    stop() {
      clearTimeout(timer);
      timer = undefined;
      connection?.destroy();
    },
  };

  function schedule(): void {
    timer = setTimeout(async () => {
      await look()
        .catch(unreachable)
        .catch(() => {});
      if (timer) schedule();
    }, lookMs);
  }

  function unreachable(error: unknown): void {
    connection?.destroy();
    connection = undefined;
    reason = undefined;
    if (error instanceof UsageError) throw error;
    // The workers will say what is wrong with the server.
  }

  async function look(): Promise<void> {
    if (!connection) {
      connection = await mysql.createConnection({ ...db, connectTimeout: answerMs });
      connection.on("error", () => {});
    }
    const [rows] = await connection.query<RowDataPacket[]>({ sql: "SHOW GLOBAL STATUS", timeout: answerMs });
    const values = new Map(rows.map(({ Variable_name, Value }) => [Variable_name.toLowerCase(), Value]));
    reason = undefined;
    for (const { variable, most } of limits) {
      const value = Number(values.get(variable.toLowerCase()));
      if (Number.isNaN(value)) throw new UsageError(`--max-load: the server has no number called ${variable}`);
      if (value > most) reason ??= `paused: ${variable} is ${value}${where ? ` on ${where}` : ""}, above ${most}`;
    }
  }
}
