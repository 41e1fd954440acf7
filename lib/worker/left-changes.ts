/** Changes that a rollback or a failed statement leaves in tables without transactions, such as MyISAM's. */
import type { Connection } from "mysql2";
import { ask, askWarnings } from "../mysql/connection.ts";
import { noteWarnings, takeWarnings } from "../mysql/connection-state.ts";
import { type DatabaseError, isLost, isUnreached } from "../mysql/errors.ts";

/** A session, as far as it is needed here. */
interface Asking {
  readonly mysql: Connection;
  ask(text: string): ReturnType<typeof ask>;
  askWarnings(): ReturnType<typeof askWarnings>;
}

/** Text for messages about a transaction of which a part stays. */
export const partStays = "; what it did to tables without transactions stays";

/**
 * Sends ROLLBACK. Destroys the connection if that fails, so that the server rolls back.
 *
 * @returns true if the server warns that what it did to tables without transactions stays.
 */
export async function rollBack(connection: Connection, timeoutMs: number): Promise<boolean> {
  takeWarnings(connection); // drops those of earlier statements
  await ask(connection, "ROLLBACK", timeoutMs).catch(() => connection.destroy());
  return leavesPart(connection, timeoutMs);
}

/** Returns true if the last statement was a rollback, and the server warns that it is not complete. Keeps the noted warnings. */
export async function leavesPart(connection: Connection, timeoutMs: number): Promise<boolean> {
  const warned = takeWarnings(connection);
  if (!warned) return false;
  const warnings = await askWarnings(connection, timeoutMs);
  takeWarnings(connection); // drops those of SHOW WARNINGS itself
  noteWarnings(connection, warned);
  return warnings.some(isNotRolledBack);
}

export function isNotRolledBack({ code }: { readonly code: number }): boolean {
  return code === 1196; // ER_WARNING_NOT_COMPLETE_ROLLBACK
}

/** Returns true if the failed statement has changed tables without transactions, or may have. Adds that to the error's message. */
export async function mayHaveLeftChanges(error: DatabaseError, session: Asking): Promise<boolean> {
  if (isLost(error)) return false;
  const warnings = await session.askWarnings();
  if (warnings.some(isNotRolledBack)) {
    error.message += partStays;
    return true;
  }
  // A server lists the error itself. A proxy answers with an empty list, or with that of another session.
  const isListed = warnings.some(({ code }) => code === error.errno);
  if (isListed || isUnreached(error) || !(await mayHaveSuchTables(session))) return false;
  error.message += "; if it has changed tables without transactions, that stays: the server does not tell";
  return true;
}

/** Connections to servers that have only transactional tables. */
const transactional = new WeakSet<Connection>();

/** Returns false if this account sees no table without transactions. */
async function mayHaveSuchTables(session: Asking): Promise<boolean> {
  if (transactional.has(session.mysql)) return false;
  const rows = await session.ask(oneSuchTable).catch(() => undefined);
  if (rows?.length === 0) transactional.add(session.mysql);
  return rows?.length !== 0;
}

const oneSuchTable = `SELECT 1 FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine
  WHERE e.transactions <> 'YES' AND t.table_type = 'BASE TABLE'
  AND t.table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') LIMIT 1`;
