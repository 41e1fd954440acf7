/** What a server has last said of its session with a connection. */
import type { Connection } from "mysql2";

const openTransactions = new WeakSet<Connection>();

/** Whether a transaction was open at the server's last answer without an error. */
export function isInTransaction(connection: Connection): boolean {
  return openTransactions.has(connection);
}

export function noteTransaction(connection: Connection, isOpen: boolean): void {
  if (isOpen) openTransactions.add(connection);
  else openTransactions.delete(connection);
}

const otherCharacterSets = new WeakSet<Connection>();

/** Whether the server sends the text of rows in another character set than utf8mb4. */
export function needsUtf8(connection: Connection): boolean {
  return otherCharacterSets.has(connection);
}

/** Notes the character set in which the server sends rows from now on. */
export function noteCharacterSet(connection: Connection, name: string): void {
  if (name === "utf8mb4") otherCharacterSets.delete(connection);
  else otherCharacterSets.add(connection);
}

const packetLimits = new WeakMap<Connection, number>();

/** How many bytes a query must not have, as far as it is known. */
export function packetLimitOf(connection: Connection): number {
  return packetLimits.get(connection) ?? Number.POSITIVE_INFINITY;
}

/** Notes the server's `max_allowed_packet`. */
export function notePacketLimit(connection: Connection, bytes: number): void {
  packetLimits.set(connection, bytes);
}

const identities = new WeakMap<Connection, string>();

/** Returns what tells the connection's server from all others; undefined if that is not known. */
export function identityOf(connection: Connection): string | undefined {
  return identities.get(connection);
}

export function noteIdentity(connection: Connection, identity: string): void {
  identities.set(connection, identity);
}
