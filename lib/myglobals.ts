/**
 * Values that the parent shares with its workers, as the module of the same name did in the Python original.
 *
 * The parent sets them before `doWork()`. Every worker thread has them when `workerInit()` runs. They travel as `workerData`:
 * a `SharedArrayBuffer` is the same memory on both sides, everything else is a copy.
 */
import { workerData } from "node:worker_threads";
import type { ConnectionOptions } from "mysql2";

export interface MyGlobals {
  /** The configuration. The default `workerInit()` connects to `db`. Add what your workers need. */
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

/** Returns the error message if `config.db` is not set. Otherwise mysql2 would silently connect to localhost. */
export function whyNoServer(): string | undefined {
  if (Object.keys(myglobals.config?.db ?? {}).length > 0) return undefined;
  return "Cannot connect: myglobals.config.db is not set; before doWork(), write myglobals.config = { db }";
}

/**
 * Names the first value that cannot be copied to a worker thread.
 *
 * @returns for example `myglobals.config.db.typeCast is a function`, or `undefined` if all values can be copied.
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
