/** Opening and closing a MySQL connection. */
import net from "node:net";
import mysql, { type Connection, type ConnectionOptions } from "mysql2";
import { execute } from "./execute.ts";

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
 * Connects and runs each query by itself: `AUTOCOMMIT=1`. Rejects with mysql2's error, also where the server lets us in and
 * takes no queries yet; with ETIMEDOUT after `connectTimeout` milliseconds, 10,000 if it does not say.
 */
export async function connect(options: ConnectionOptions): Promise<Connection> {
  // A prepared statement for each of many texts would end in the server's limit for all clients (error 1461).
  const connection = mysql.createConnection({ maxPreparedStatements: 64, ...options });
  // Without a listener, a connection that is lost while idle would end the thread. The next query meets the error.
  connection.on("error", () => {});
  const late = Object.assign(new Error("connect ETIMEDOUT"), { code: "ETIMEDOUT" });
  const timer = setTimeout(sever, options.connectTimeout ?? 10_000, connection, late); // mysql2's ends with the handshake
  try {
    await new Promise<void>((resolve, reject) => {
      connection.connect((error) => (error ? reject(error) : resolve()));
    });
    await execute(connection, "SET AUTOCOMMIT=1");
    await execute(connection, "DO 0"); // a Galera node that is not part of its cluster takes SET and SELECT 1, but not this
    return connection;
  } catch (error) {
    connection.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Says goodbye and closes. */
export function close(connection: Connection): Promise<void> {
  return new Promise((resolve) => {
    connection.end(() => resolve());
  });
}

/** Ends a connection at once: what it is running is rejected with `error`. */
export function sever(connection: Connection, error: Error): void {
  streamOf(connection).destroy(error);
}

/** The mysql2 connection in whatever a script's `workerInit()` returned, if there is one. */
export function connectionIn(value: unknown): Connection | undefined {
  const inner = (value as { connection?: unknown } | undefined)?.connection ?? value; // mysql2/promise wraps one
  return typeof (inner as Partial<Connection> | undefined)?.threadId === "number" ? (inner as Connection) : undefined;
}

/** Whether the mysql2 connection in a value, if there is one, is known to be of no more use. */
export function isClosed(value: unknown): boolean {
  const state = (connectionIn(value) as { state?: string } | undefined)?.state;
  return state === "error" || state === "disconnected";
}

/** The socket. mysql2 tells of it nowhere else. */
export function streamOf(connection: Connection): net.Socket {
  return (connection as unknown as { stream: net.Socket }).stream;
}
