/** Opening and closing a MySQL connection. */
import net from "node:net";
import mysql, { type Connection, type ConnectionOptions } from "mysql2";
import { type AccountOptions, authPluginsFor, explainAccount } from "./accounts.ts";
import { type DatabaseError, isLost, nameError } from "./errors.ts";
import { execute, textRows } from "./execute.ts";
import { identityOf, noteCharacterSet, noteIdentity, notePacketLimit } from "./server-state.ts";

/** Where a server listens. */
export interface Host {
  readonly host: string;
  readonly port: number;
}

/** For people: `db1:3306`, `[::1]:3306`. */
export function nameOf({ host, port }: Host): string {
  return `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/**
 * Connects as the server's own client does, but for `AUTOCOMMIT=1`: each query is committed by itself.
 *
 * Rejects with mysql2's error, also where the server lets us in and takes no queries yet; with ETIMEDOUT after
 * `connectTimeout` milliseconds, 10,000 if it does not say, and when `signal` is aborted meanwhile.
 */
export async function connect(
  { getServerPublicKey, ...options }: ConnectionOptions & AccountOptions,
  signal?: AbortSignal,
): Promise<Connection> {
  const flags = [...clientFlags, ...(options.flags ?? ["-LOCAL_FILES"])];
  const authPlugins = options.authPlugins ?? authPluginsFor({ ...options, getServerPublicKey });
  const connection = mysql.createConnection({ ...asClient, ...options, authPlugins, flags });
  const late = Object.assign(new Error("connect ETIMEDOUT"), { code: "ETIMEDOUT" });
  const timer = setTimeout(sever, options.connectTimeout ?? 10_000, connection, late); // mysql2's ends with the handshake
  const interrupt = () => sever(connection, new Error("interrupted"));
  signal?.addEventListener("abort", interrupt);
  adopt(connection);
  let speaksX = false; // where the classic protocol has its version, 10, the X Protocol has the type of its first message
  streamOf(connection).once("data", (greeting) => {
    speaksX = greeting[4] === 11;
  });
  try {
    await new Promise<void>((resolve, reject) => {
      connection.connect((error) => (error ? reject(error) : resolve()));
    });
    // NAMES without a collation: the server's default one, which the client has too, and not mysql2's.
    await execute(connection, "SET AUTOCOMMIT=1, NAMES utf8mb4");
    await execute(connection, "DO 0"); // a Galera node that is not part of its cluster takes SET and SELECT 1, but not this
    await lookAtServer(connection);
    return connection;
  } catch (error) {
    connection.destroy();
    if (speaksX) throw new Error("this is for MySQL's X Protocol: name the classic one's port (3306) or socket");
    explainAccount(error as Error);
    nameError(error as DatabaseError, connection);
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", interrupt);
  }
}

/** Notes what is the server's and not the session's: which one it is, and how large a query it takes. */
async function lookAtServer(connection: Connection): Promise<void> {
  const limit = "SELECT @@max_allowed_packet";
  const [row] = await textRows(connection, `${limit}, ${identity}`).catch((error: DatabaseError) => {
    if (error.errno !== unknownVariable) throw error;
    return textRows(connection, limit);
  });
  const [bytes, ...names] = row!;
  notePacketLimit(connection, Number(bytes));
  if (names.length > 0) noteIdentity(connection, names.join(" "));
}

/** MariaDB skips the comment: it has no UUID of its own. */
const identity = "@@hostname, @@port, @@datadir, @@server_id /*!50700 , @@server_uuid */";
const unknownVariable = 1193; // ER_UNKNOWN_SYSTEM_VARIABLE, as from what only speaks the protocol

/** mysql2 asks for both, and the client for neither: changed rows, not matched ones. */
const clientFlags = ["-FOUND_ROWS", "-IGNORE_SPACE"];
const asClient: ConnectionOptions = {
  multipleStatements: true,
  maxPreparedStatements: 64, // one for each of many texts would end in the server's limit for all clients (error 1461)
};

/** Makes a connection of anyone's fit for `execute()`. */
export function adopt(connection: Connection): void {
  if (adopted.has(connection)) return;
  adopted.add(connection);
  // Without a listener, a connection that is lost while idle would end the thread: the next query meets the error. Where
  // mysql2 cannot read an answer, it tells the connection alone.
  connection.on("error", (error) => {
    (connection as unknown as { _command?: { onResult?(error: Error): void } })._command?.onResult?.(error);
  });
  // What is sent is UTF-8, whatever the session says of it: mysql2 would follow `SET NAMES latin1`.
  const { charsetNumber } = connection.config as { charsetNumber?: number };
  Object.defineProperty(connection.config, "charsetNumber", { get: () => charsetNumber, set: () => {} });
  if (charsetNumber !== utf8mb4) noteCharacterSet(connection, "another");
  if ((connection.config as ConnectionOptions).compress) acceptAnyOrder(connection as unknown as PacketReader);
}

/** Does for a script's own connection what `connect()` does. What does not understand the question is no MySQL, and is used as it is. */
export async function takeOver(connection: Connection, timeoutMs: number): Promise<void> {
  adopt(connection);
  if (identityOf(connection) !== undefined) return;
  await within(connection, timeoutMs, () => lookAtServer(connection)).catch((error) => {
    if (isLost(error)) throw error;
  });
}

interface PacketReader {
  readonly sequenceId: number;
  handlePacket(packet?: { sequenceId: number }): void;
}

/** In a compressed stream, servers number the packets of several results otherwise; mysql2 would warn of each, and read on. */
function acceptAnyOrder(reader: PacketReader): void {
  const handle = reader.handlePacket;
  reader.handlePacket = (packet) => {
    if (packet) packet.sequenceId = reader.sequenceId;
    handle.call(reader, packet);
  };
}

const adopted = new WeakSet<Connection>();

/** mysql2's number for `utf8mb4_unicode_ci`, its default. */
const utf8mb4 = 224;

/**
 * Runs a statement of our own, and returns its rows. When the server does not answer within `timeoutMs`, the connection is
 * closed: a network that swallows everything gives no error by itself.
 */
export function ask(
  connection: Connection,
  text: string | Uint8Array,
  timeoutMs: number,
): Promise<(string | null)[][]> {
  return within(connection, timeoutMs, () => textRows(connection, text));
}

/** The same for whatever is done on a connection. */
export async function within<Result>(
  connection: Connection,
  timeoutMs: number,
  action: () => Promise<Result>,
): Promise<Result> {
  const error = Object.assign(new Error(`The server did not answer within ${timeoutMs / 1000} s`), {
    code: "ETIMEDOUT",
  });
  const timer = setTimeout(sever, timeoutMs, connection, error);
  try {
    return await action();
  } finally {
    clearTimeout(timer);
  }
}

/** Says goodbye and closes; a server that does not take it is left alone. */
export function close(connection: Connection): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      connection.destroy();
      resolve();
    }, closeMs);
    connection.end(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

const closeMs = 1000;

/** Ends a connection at once: what it is running is rejected with `error`. */
export function sever(connection: Connection, error: Error): void {
  streamOf(connection).destroy(error);
}

/** The mysql2 connection in whatever a script's `workerInit()` returned, if there is one. */
export function connectionIn(value: unknown): Connection | undefined {
  const inner = (value as { connection?: unknown } | undefined)?.connection ?? value; // mysql2/promise wraps one
  const { threadId } = Object(inner) as { threadId?: unknown };
  return typeof threadId === "number" || threadId === null ? (inner as Connection) : undefined; // null during the handshake
}

/** Whether the mysql2 connection in a value, if there is one, is known to be of no more use. */
export function isClosed(value: unknown): boolean {
  const state = (connectionIn(value) as { state?: string } | undefined)?.state;
  return state === "error" || state === "disconnected";
}

/** Whether a query that was sent has not been answered. */
export function isBusy(connection: Connection): boolean {
  return Boolean((connection as unknown as { _command: unknown })._command);
}

/** Bytes sent since the connection was made: the same as before when nothing was sent. */
export function bytesSent(connection: Connection): number {
  return streamOf(connection).bytesWritten;
}

/** The socket. mysql2 tells of it nowhere else. */
export function streamOf(connection: Connection): net.Socket {
  return (connection as unknown as { stream: net.Socket }).stream;
}
