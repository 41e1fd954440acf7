/** Opens and closes MySQL connections. */
import net from "node:net";
import mysql, { type Connection, type ConnectionOptions } from "mysql2";
import { type AccountOptions, authPluginsFor, explainAccount } from "./accounts.ts";
import { productOf, stateOf } from "./connection-state.ts";
import { type DatabaseError, isLost, nameError } from "./errors.ts";
import { execute, readWarnings, textRows } from "./execute.ts";

/** Address of a server. */
export interface Host {
  readonly host: string;
  readonly port: number;
}

/** Returns the host for messages, such as `db1:3306` or `[::1]:3306`. */
export function nameOf({ host, port }: Host): string {
  return `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/**
 * Connects with the settings of the server's own client, and `AUTOCOMMIT=1`, so that each query is committed by itself.
 *
 * Rejects with mysql2's error, also if the server accepts the connection but no queries yet. Rejects with ETIMEDOUT after
 * `connectTimeout` ms, default 10,000. Rejects if `signal` is aborted before it has connected.
 */
export async function connect(
  { getServerPublicKey, ...options }: ConnectionOptions & AccountOptions,
  signal?: AbortSignal,
): Promise<Connection> {
  const flags = [...clientFlags, ...(options.flags ?? ["-LOCAL_FILES"])];
  const authPlugins = options.authPlugins ?? authPluginsFor({ ...options, getServerPublicKey });
  const connection = mysql.createConnection({ ...asClient, ...options, authPlugins, flags });
  const late = Object.assign(new Error("connect ETIMEDOUT"), { code: "ETIMEDOUT" });
  const timer = setTimeout(destroyWith, options.connectTimeout ?? 10_000, connection, late); // mysql2's ends with the handshake
  const interrupt = () => destroyWith(connection, new Error("interrupted"));
  signal?.addEventListener("abort", interrupt);
  prepareConnection(connection);
  let speaksX = false; // byte 4 is the version, 10, in the classic protocol, and a message type in the X Protocol
  streamOf(connection).once("data", (greeting) => {
    speaksX = greeting[4] === 11;
  });
  try {
    await new Promise<void>((resolve, reject) => {
      connection.connect((error) => (error ? reject(error) : resolve()));
    });
    // NAMES without a collation sets the server's default one, as in the client. mysql2 would set its own.
    await execute(connection, "SET AUTOCOMMIT=1, NAMES utf8mb4");
    await execute(connection, "DO 0"); // fails on a Galera node outside its cluster, which takes SET and SELECT 1
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

/** Reads the server's identity and its `max_allowed_packet`. */
async function lookAtServer(connection: Connection): Promise<void> {
  const limit = "SELECT @@max_allowed_packet";
  const [row] = await textRows(connection, `${limit}, ${identity}`).catch((error: DatabaseError) => {
    if (error.errno !== unknownVariable) throw error;
    return textRows(connection, limit);
  });
  const [bytes, ...names] = row!;
  const state = stateOf(connection);
  state.packetLimit = Number(bytes);
  if (names.length > 0 && !isVitess(connection)) state.identity = names.join(" ");
}

/**
 * Returns true if the server is a vtgate of Vitess. What it answers about the server is said of any of the shards behind it.
 *
 * @see https://vitess.io/docs/reference/programs/vtgate/ `--mysql-server-version`
 */
export function isVitess(connection: Connection): boolean {
  return /-vitess\b/i.test(productOf(connection).version);
}

/** Columns that identify a server. MariaDB has no `server_uuid`, and skips the comment. */
const identity = "@@hostname, @@port, @@datadir, @@server_id /*!50700 , @@server_uuid */";
const unknownVariable = 1193; // ER_UNKNOWN_SYSTEM_VARIABLE, from other products that speak the protocol

/** Flags that mysql2 sets and the client does not. Without FOUND_ROWS the server counts changed rows, not matched ones. */
const clientFlags = ["-FOUND_ROWS", "-IGNORE_SPACE"];
const asClient: ConnectionOptions = {
  multipleStatements: true,
  maxPreparedStatements: 64, // mysql2's default reaches the server's limit for all clients (error 1461)
};

/** Prepares any mysql2 connection for `execute()`: adds an error listener, and fixes the character set of what is sent. */
export function prepareConnection(connection: Connection): void {
  const state = stateOf(connection);
  if (state.isPrepared) return;
  state.isPrepared = true;
  // Without a listener, losing an idle connection would end the thread. If mysql2 cannot read an answer, it emits the error on
  // the connection only, so this passes it to the command.
  connection.on("error", (error) => {
    (connection as unknown as { _command?: { onResult?(error: Error): void } })._command?.onResult?.(error);
  });
  // Queries are always sent as UTF-8. mysql2 would follow `SET NAMES latin1`.
  const { charsetNumber } = connection.config as { charsetNumber?: number };
  Object.defineProperty(connection.config, "charsetNumber", { get: () => charsetNumber, set: () => {} });
  if (charsetNumber !== utf8mb4) state.needsUtf8 = true;
  if ((connection.config as ConnectionOptions).compress) acceptAnyOrder(connection as unknown as PacketReader);
}

/**
 * Prepares a script's own connection and reads the server's identity, as `connect()` does. Ignores the error of a server that
 * does not understand that query.
 */
export async function takeOver(connection: Connection, timeoutMs: number): Promise<void> {
  prepareConnection(connection);
  if (stateOf(connection).identity !== undefined) return;
  await withDeadline(connection, timeoutMs, () => lookAtServer(connection)).catch((error) => {
    if (isLost(error)) throw error;
  });
}

interface PacketReader {
  readonly sequenceId: number;
  handlePacket(packet?: { sequenceId: number }): void;
}

/**
 * Ignores sequence ids. In a compressed stream, servers number the packets of several results in another way, and mysql2 would
 * print a warning for each.
 */
function acceptAnyOrder(reader: PacketReader): void {
  const handle = reader.handlePacket;
  reader.handlePacket = (packet) => {
    if (packet) packet.sequenceId = reader.sequenceId;
    handle.call(reader, packet);
  };
}

/** Id of `utf8mb4_unicode_ci`, mysql2's default collation. */
const utf8mb4 = 224;

/**
 * Runs a statement of our own, and returns its rows. Destroys the connection if the server does not answer within `timeoutMs`,
 * because a network that drops every packet gives no error by itself.
 */
export function ask(
  connection: Connection,
  text: string | Uint8Array,
  timeoutMs: number,
): Promise<(string | null)[][]> {
  return withDeadline(connection, timeoutMs, () => textRows(connection, text));
}

/** Returns the warnings of the last statement, none if the server does not tell them within `timeoutMs`. */
export function askWarnings(connection: Connection, timeoutMs: number) {
  return withDeadline(connection, timeoutMs, () => readWarnings(connection)).catch(() => []);
}

/** Runs `action`, and destroys the connection with ETIMEDOUT if that takes longer than `timeoutMs`. */
export async function withDeadline<Result>(
  connection: Connection,
  timeoutMs: number,
  action: () => Promise<Result>,
): Promise<Result> {
  const error = Object.assign(new Error(`The server did not answer within ${timeoutMs / 1000} s`), {
    code: "ETIMEDOUT",
  });
  const timer = setTimeout(destroyWith, timeoutMs, connection, error);
  try {
    return await action();
  } finally {
    clearTimeout(timer);
  }
}

/** Sends COM_QUIT and closes the connection. Destroys it if that takes longer than `closeMs`. */
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

/** Destroys a connection at once. The query that it is running rejects with `error`. */
export function destroyWith(connection: Connection, error: Error): void {
  streamOf(connection).destroy(error);
}

/** Returns the mysql2 connection in the return value of a script's `workerInit()`, if there is one. */
export function connectionIn(value: unknown): Connection | undefined {
  const inner = (value as { connection?: unknown } | undefined)?.connection ?? value; // mysql2/promise wraps one
  const { threadId } = Object(inner) as { threadId?: unknown };
  return typeof threadId === "number" || threadId === null ? (inner as Connection) : undefined; // null during the handshake
}

/** Returns true if a value has a mysql2 connection in it that is closed or broken. */
export function isClosed(value: unknown): boolean {
  const state = (connectionIn(value) as { state?: string } | undefined)?.state;
  return state === "error" || state === "disconnected";
}

/** Returns true while a query is running. */
export function isBusy(connection: Connection): boolean {
  return Boolean((connection as unknown as { _command: unknown })._command);
}

/** Returns the socket, a private property of mysql2's connection. */
export function streamOf(connection: Connection): net.Socket {
  return (connection as unknown as { stream: net.Socket }).stream;
}
