/** State that a server reports with its answers, by connection. */
import type { Connection } from "mysql2";

/**
 * Bits of the noted status: SERVER_STATUS_IN_TRANS, SERVER_STATUS_AUTOCOMMIT, and a bit of our own that is set once the server
 * has reported autocommit. Some proxies never do.
 */
const flags = { inTransaction: 1, autocommit: 2, tellsAutocommit: 4 };
const statuses = new WeakMap<Connection, number>();

/** Returns true if a transaction was open at the last answer that was not an error. */
export function isInTransaction(connection: Connection): boolean {
  return (statusOf(connection) & flags.inTransaction) !== 0;
}

/** Returns true if autocommit was off at that answer, so that the next query begins a transaction. */
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

/** Returns true if the server sends rows in another character set than utf8mb4. */
export function needsUtf8(connection: Connection): boolean {
  return otherCharacterSets.has(connection);
}

/** Notes the character set in which the server sends rows from now on. */
export function noteCharacterSet(connection: Connection, name: string): void {
  if (name === "utf8mb4") otherCharacterSets.delete(connection);
  else otherCharacterSets.add(connection);
}

const packetLimits = new WeakMap<Connection, number>();

/** Returns the server's `max_allowed_packet` in bytes, or infinity if it is not known. */
export function packetLimitOf(connection: Connection): number {
  return packetLimits.get(connection) ?? Number.POSITIVE_INFINITY;
}

export function notePacketLimit(connection: Connection, bytes: number): void {
  packetLimits.set(connection, bytes);
}

const identities = new WeakMap<Connection, string>();

/** Returns a text that identifies the connection's server. Undefined if it is not known. */
export function identityOf(connection: Connection): string | undefined {
  return identities.get(connection);
}

export function noteIdentity(connection: Connection, identity: string): void {
  identities.set(connection, identity);
}
