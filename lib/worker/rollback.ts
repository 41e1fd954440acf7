/** Rolls back a transaction, and tells whether all of it is gone. */
import type { Connection } from "mysql2";
import { ask, askWarnings } from "../mysql/connection.ts";
import { noteWarnings, takeWarnings } from "../mysql/connection-state.ts";

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
  const rows = await askWarnings(connection, timeoutMs).catch(() => []);
  takeWarnings(connection); // drops those of SHOW WARNINGS itself
  noteWarnings(connection, warned);
  return rows.some(([, code]) => Number(code) === notRolledBack);
}

/** ER_WARNING_NOT_COMPLETE_ROLLBACK */
export const notRolledBack = 1196;
/** Text for messages about a transaction of which a part stays. */
export const partStays = "; what it did to tables without transactions stays";
