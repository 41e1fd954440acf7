/** Servers that take no writes for the moment: a replica, an election, a failover. */
import type { Connection } from "mysql2";
import { ask } from "./connection.ts";
import { type DatabaseError, isReadOnly } from "./errors.ts";

/**
 * Asks a server whether it is still read-only in the way that this error says.
 *
 * @param scope a new connection has in its session what the server gave it; of another one, that may be its own doing.
 * @returns false also where nobody can tell: the query itself will.
 */
export async function isStillReadOnly(
  connection: Connection,
  error: DatabaseError,
  scope: "SESSION" | "GLOBAL",
  timeoutMs: number,
): Promise<boolean> {
  const names = variablesBehind(error);
  if (names === undefined) return false;
  const text = `SHOW ${scope} VARIABLES WHERE Variable_name IN (${names})`;
  const rows = await ask(connection, text, timeoutMs).catch(() => []);
  return rows.some(([, value]) => value !== "OFF" && value !== "0");
}

/** The global variables that make a server answer with this error, as far as it says so. */
function variablesBehind(error: DatabaseError): string | undefined {
  if (error.errno === 1792) return "'transaction_read_only', 'tx_read_only'";
  if (!isReadOnly(error)) return undefined;
  const option = /--((?:super[-_])?read[-_]only)/.exec(error.message)?.[1];
  return option && `'${option.replaceAll("-", "_")}'`;
}
