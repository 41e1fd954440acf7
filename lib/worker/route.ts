/** The hosts of a worker, in the order in which it tries them, and when it tries its own one again. */
import type { Host } from "../mysql/connection.ts";
import { backoffMs } from "../mysql/errors.ts";

/** In the worker's own order; undefined where the configuration alone says it. */
export type Route = readonly (Host | undefined)[];

/** When to look again whether a host is back, and how often this was done. */
export interface HomeTry {
  readonly until: number;
  readonly tries: number;
}

/** How long a host that has been away may take to let a worker in that has a connection which works. */
export const homeTryMs = 3000;
/** The longest that a host which has been away is left alone. */
const homeBackoffMs = 60_000;

/** Worker 1 is at home at the first host, worker 2 at the second; the workers of one host go on at different others. */
export function routeOf(worker: number, hosts: readonly Host[]): Route {
  const at = (worker - 1) % hosts.length;
  const others = [...hosts.slice(at + 1), ...hosts.slice(0, at)];
  const turn = Math.floor((worker - 1) / hosts.length) % others.length;
  return [hosts[at], ...others.slice(turn), ...others.slice(0, turn)];
}

/** When a worker looks again whether its own host is back: from some seconds on, ever more seldom. */
export function nextHomeTry(tries: number): HomeTry {
  return { until: performance.now() + backoffMs(6 + tries, homeBackoffMs), tries };
}
