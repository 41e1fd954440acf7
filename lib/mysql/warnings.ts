/** The warnings that a server has counted with its answers, on each connection since they were last taken. */
import type { Connection } from "mysql2";

/** What the server has said with its answers. */
export interface Warned {
  /** Of all levels: a note counts as much as an error that was ignored. */
  count: number;
  /** Of the last answer that had some, such as `Records: 3  Deleted: 0  Skipped: 1  Warnings: 2`, or "". */
  info: string;
}

const noted = new WeakMap<Connection, Warned>();
/** Connections with something noted: none, before and after nearly every query. */
let left = 0;

/** Adds the warnings of an answer. */
export function noteWarnings(connection: Connection, count: number, info: string): void {
  const before = noted.get(connection);
  if (!before) left++;
  noted.set(connection, { count: count + (before?.count ?? 0), info });
}

/** Returns what was noted, and forgets it; undefined for none. */
export function takeWarnings(connection: Connection): Warned | undefined {
  if (left === 0) return undefined;
  const warned = noted.get(connection);
  if (warned && noted.delete(connection)) left--;
  return warned;
}
