/** Number of warnings that servers have reported, by connection, since it was last taken. */
import type { Connection } from "mysql2";

/** Warnings of one or more answers. */
export interface Warned {
  /** The number of warnings of all levels. A note counts as much as an error that was ignored. */
  count: number;
  /** Info text of the last answer with warnings, such as `Records: 3  Deleted: 0  Skipped: 1  Warnings: 2`, or "". */
  info: string;
}

const noted = new WeakMap<Connection, Warned>();
/** The number of connections with warnings that were not taken yet. It is 0 around nearly every query, which makes that fast. */
let left = 0;

/** Adds the warnings of an answer. */
export function noteWarnings(connection: Connection, count: number, info: string): void {
  const before = noted.get(connection);
  if (!before) left++;
  noted.set(connection, { count: count + (before?.count ?? 0), info });
}

/** Returns the noted warnings and forgets them. Returns undefined if there are none. */
export function takeWarnings(connection: Connection): Warned | undefined {
  if (left === 0) return undefined;
  const warned = noted.get(connection);
  if (warned && noted.delete(connection)) left--;
  return warned;
}
