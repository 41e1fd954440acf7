/**
 * What the parent and its workers share, as the module of the same name did in the Python original.
 *
 * Whatever the parent puts here before `doWork()` is here in every worker thread when `workerInit()` runs. It travels as
 * `workerData`: a `SharedArrayBuffer` is the same memory on both sides, the rest is a copy.
 */
import { workerData } from "node:worker_threads";
import type { ConnectionOptions } from "mysql2";

export interface MyGlobals {
  /** The configuration: `db` is where the default `workerInit()` connects to; add what your workers need. */
  config: { db: ConnectionOptions; [name: string]: unknown };
  [name: string]: unknown;
}

export const myglobals: MyGlobals = workerData?.myglobals ?? { config: { db: {} } };

/**
 * Returns `myglobals` with a type for your own values in `config`.
 *
 * @example
 * ```ts
 * const myglobals = typedGlobals<{ region: string }>();
 * myglobals.config = { db, region: "eu" };
 * ```
 */
export function typedGlobals<Config extends object>(): MyGlobals & { config: Config } {
  return myglobals as MyGlobals & { config: Config };
}

/** Why there is no server to connect to: mysql2 would take localhost without a word. */
export function whyNoServer(): string | undefined {
  if (Object.keys(myglobals.config?.db ?? {}).length > 0) return undefined;
  return "Cannot connect: myglobals.config.db is not set; main() sets it by myglobals.config = { db: command.db }";
}

/**
 * Names the first value that cannot travel to a worker thread.
 *
 * @returns such as `myglobals.config.db.typeCast is a function`, or `undefined` when all can.
 */
export function findUncloneable(value: unknown, path = "myglobals", seen = new Set<unknown>()): string | undefined {
  if (typeof value === "function" || typeof value === "symbol") return `${path} is a ${typeof value}`;
  if (typeof value !== "object" || value === null || seen.has(value)) return undefined;
  seen.add(value);
  const entries = value instanceof Map ? value : value instanceof Set ? value.entries() : Object.entries(value);
  for (const [name, member] of entries) {
    const found = findUncloneable(member, Array.isArray(value) ? `${path}[${name}]` : `${path}.${String(name)}`, seen);
    if (found !== undefined) return found;
  }
  try {
    structuredClone(value);
  } catch {
    return `${path} is a ${value.constructor?.name ?? "value"} that cannot be copied`;
  }
  return undefined;
}
