/** What a server has last said of its session with a connection. */
import type { Connection } from "mysql2";

/** The protocol's SERVER_STATUS_IN_TRANS and SERVER_STATUS_AUTOCOMMIT, and whether the second was ever set: not all proxies do. */
const flags = { inTransaction: 1, autocommit: 2, tellsAutocommit: 4 };
const statuses = new WeakMap<Connection, number>();

/** Whether a transaction was open at the server's last answer without an error. */
export function isInTransaction(connection: Connection): boolean {
  return (statusOf(connection) & flags.inTransaction) !== 0;
}

/** Whether autocommit was off at that answer: the next query begins a transaction. */
export function isAutocommitOff(connection: Connection): boolean {
  return (statusOf(connection) & (flags.autocommit | flags.tellsAutocommit)) === flags.tellsAutocommit;
}

/** Notes the status that comes with each answer. */
export function noteStatus(connection: Connection, status: number): void {
  const before = statusOf(connection);
  const told = (before & flags.tellsAutocommit) | (status & flags.autocommit ? flags.tellsAutocommit : 0);
  const now = (status & (flags.inTransaction | flags.autocommit)) | told;
  if (now !== before) statuses.set(connection, now);
}

function statusOf(connection: Connection): number {
  return statuses.get(connection) ?? 0;
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
