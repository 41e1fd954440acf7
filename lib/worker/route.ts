/** Order in which a worker tries the hosts, and times at which it tries its own host again. */
import type { Host } from "../mysql/connection.ts";
import { backoffMs } from "../mysql/errors.ts";

/** Hosts in the order of one worker. `[undefined]` if the configuration alone names the server. */
export type Route = readonly (Host | undefined)[];

/** Schedule of a worker that is away from its own host. */
export interface HomeTry {
  /** Time of the next try, by `performance.now()`. */
  readonly until: number;
  readonly tries: number;
}

/** Connect timeout in ms for the worker's own host while it has a working connection to another one. */
export const homeTryMs = 3000;
/** Longest pause in ms between two tries. */
const homeBackoffMs = 60_000;

/**
 * Returns the route of a worker. Worker 1 begins at the first host, worker 2 at the second, and so on. Workers that begin at
 * the same host have different second hosts, which spreads them when it goes down.
 */
export function routeOf(worker: number, hosts: readonly Host[]): Route {
  const at = (worker - 1) % hosts.length;
  const others = [...hosts.slice(at + 1), ...hosts.slice(0, at)];
  const turn = Math.floor((worker - 1) / hosts.length) % others.length;
  return [hosts[at], ...others.slice(turn), ...others.slice(0, turn)];
}

/** Schedules the next try of the worker's own host: with backoff, from a few seconds up to `homeBackoffMs`. */
export function nextHomeTry(tries: number): HomeTry {
  return { until: performance.now() + backoffMs(6 + tries, homeBackoffMs), tries };
}
