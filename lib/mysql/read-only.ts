/** Detects whether a server still takes no writes: it is a replica, or there is an election or a failover. */
import type { Connection } from "mysql2";
import { ask } from "./connection.ts";
import { type DatabaseError, isReadOnly } from "./errors.ts";

/**
 * Asks a server whether it is still read-only in the way that this error says.
 *
 * @param scope `SESSION` for a new connection, which still has the server's values. `GLOBAL` for any other, because its session
 * may have changed them.
 * @returns false also if nobody can tell. The query itself will show it then.
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

/** Returns the quoted names of the variables that cause this error. Undefined if the error does not tell. */
function variablesBehind(error: DatabaseError): string | undefined {
  if (error.errno === 1792) return "'transaction_read_only', 'tx_read_only'";
  if (!isReadOnly(error)) return undefined;
  const option = /--((?:super[-_])?read[-_]only)/.exec(error.message)?.[1];
  return option && `'${option.replaceAll("-", "_")}'`;
}
