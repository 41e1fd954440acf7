/** State of a connection and of its server, kept on the connection: a query looks at it several times. */
import type { Connection } from "mysql2";

/** Warnings of one or more answers. */
export interface Warned {
  /** The number of warnings of all levels. A note counts as much as an error that was ignored. */
  readonly count: number;
  /** Info text of the last answer with warnings, such as `Records: 3  Deleted: 0  Skipped: 1  Warnings: 2`, or "". */
  readonly info: string;
}

const initial = {
  /** True if `execute()` can use the connection. */
  isPrepared: false,
  /** True if a transaction was open at the last answer that was not an error. */
  isInTransaction: false,
  /** True if autocommit was off at that answer, so that the next query begins a transaction. */
  isAutocommitOff: false,
  /** True once the server has reported autocommit. Some proxies never do. */
  tellsAutocommit: false,
  /** True if the server sends rows in another character set than utf8mb4. */
  needsUtf8: false,
  /** The server's `max_allowed_packet` in bytes. */
  packetLimit: Number.POSITIVE_INFINITY,
  /** A text that identifies the server, if it is known. */
  identity: undefined as string | undefined,
  /** True while the running query is being interrupted. */
  isInterrupted: false,
  /** Warnings that the server has reported since they were last taken. */
  warned: undefined as Warned | undefined,
};

const key = Symbol("state");

export function stateOf(connection: Connection): typeof initial {
  const kept = connection as unknown as { [key]?: typeof initial };
  kept[key] ??= { ...initial };
  return kept[key];
}

/** Returns what mysql2 knows of the server. */
export function productOf(connection: object): { readonly isMariaDB: boolean; readonly version: string } {
  const { _isMariaDB, _handshakePacket } = connection as {
    readonly _isMariaDB?: boolean;
    readonly _handshakePacket?: { readonly serverVersion: string };
  };
  return { isMariaDB: _isMariaDB === true, version: _handshakePacket?.serverVersion ?? "" };
}

/** Notes the status that comes with each answer: SERVER_STATUS_IN_TRANS is 1, SERVER_STATUS_AUTOCOMMIT is 2. */
export function noteStatus(connection: Connection, status: number): void {
  const state = stateOf(connection);
  state.isInTransaction = (status & 1) !== 0;
  state.tellsAutocommit ||= (status & 2) !== 0;
  state.isAutocommitOff = state.tellsAutocommit && (status & 2) === 0;
}

/** Adds the warnings of an answer. */
export function noteWarnings(connection: Connection, { count, info }: Warned): void {
  const state = stateOf(connection);
  state.warned = { count: count + (state.warned?.count ?? 0), info };
}

/** Returns the noted warnings and forgets them. Returns undefined if there are none, or no connection of mysql2. */
export function takeWarnings(connection: Connection | undefined): Warned | undefined {
  if (connection === undefined) return undefined;
  const state = stateOf(connection);
  const { warned } = state;
  if (warned !== undefined) state.warned = undefined;
  return warned;
}
