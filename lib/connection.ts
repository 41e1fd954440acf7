/** Opening, using, interrupting and closing a MySQL connection. */
import net from "node:net";
import mysql, { type Connection, type ConnectionOptions, type FieldPacket } from "mysql2";
import type { Query } from "./queue.ts";

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
 * takes no queries yet.
 */
export async function connect(options: ConnectionOptions): Promise<Connection> {
  // A prepared statement for each of many texts would end in the server's limit for all clients (error 1461).
  const connection = mysql.createConnection({ maxPreparedStatements: 64, ...options });
  // Without a listener, a connection that is lost while idle would end the thread. The next query meets the error.
  connection.on("error", () => {});
  await new Promise<void>((resolve, reject) => {
    connection.connect((error) => (error ? reject(error) : resolve()));
  });
  try {
    await execute(connection, "SET AUTOCOMMIT=1");
    await execute(connection, "DO 0"); // a Galera node that is not part of its cluster takes SET and SELECT 1, but not this
  } catch (error) {
    connection.destroy();
    throw error;
  }
  return connection;
}

/** Hears of a query's results while they come; a text of several statements has several, counted from 0. */
export interface ResultListener {
  /** A result with columns begins. The function that it returns takes its rows, and returns false to make them wait. */
  readonly onResult?: (index: number, fields: FieldPacket[]) => (row: unknown[]) => boolean;
  /** A result is complete. */
  readonly onDone?: (index: number, rows: number) => void;
}

/**
 * Runs one query: SQL text as text, `{ sql, values }` as a prepared statement.
 *
 * It listens to mysql2's events, which cost less than its promises and keep no rows. With `onResult`, all is sent as text,
 * as values come as the server prints them only then.
 *
 * @returns the number of rows: returned by a SELECT, matched by an UPDATE, inserted, deleted.
 */
export function execute(connection: Connection, query: Query, listener: ResultListener = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    new Execution(connection, listener, resolve, reject).send(query);
  });
}

/** A query on its way. A class, as closures for each query cost more. */
class Execution {
  readonly #connection: Connection;
  readonly #listener: ResultListener;
  readonly #resolve: (rows: number) => void;
  readonly #reject: (error: Error) => void;
  readonly #lost: (error: Error) => void;
  #command: ReturnType<Connection["query"]> | undefined;
  #rows = 0; // of all results
  #before = 0; // of the results that are complete
  #complete = 0;
  #isRow = false;
  #sink: ((row: unknown[]) => boolean) | undefined;
  #failure: Error | undefined;

  constructor(
    connection: Connection,
    listener: ResultListener,
    resolve: (rows: number) => void,
    reject: (error: Error) => void,
  ) {
    this.#connection = connection;
    this.#listener = listener;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#lost = this.#fail.bind(this);
  }

  send(query: Query): void {
    this.#connection.on("error", this.#lost); // a lost connection is told to the connection, not to the query
    try {
      this.#command = send(this.#connection, query, this.#listener.onResult !== undefined);
    } catch (error) {
      this.#fail(error as Error); // mysql2 refuses values such as undefined by throwing
      return;
    }
    this.#command
      .on("fields", (fields: FieldPacket[] | undefined) => this.#begin(fields))
      .on("result", (result: unknown) => this.#take(result))
      .on("error", (error: Error) => {
        this.#failure = error;
        this.#completeTo(resultsOf(this.#command));
      })
      .on("end", () => this.#settle());
  }

  #begin(fields: FieldPacket[] | undefined): void {
    this.#completeTo(resultsOf(this.#command));
    this.#isRow = fields !== undefined;
    this.#sink = fields && this.#listener.onResult?.(this.#complete, fields);
  }

  #take(result: unknown): void {
    if (!this.#isRow) {
      const { affectedRows, serverStatus } = result as { affectedRows: number; serverStatus: number };
      this.#rows += affectedRows;
      if (serverStatus & inTransactionFlag) openTransactions.add(this.#connection);
      else openTransactions.delete(this.#connection);
    } else {
      this.#rows++;
      if (this.#sink?.(result as unknown[]) === false) this.#connection.pause();
    }
  }

  #completeTo(count: number): void {
    for (; this.#complete < count; this.#complete++) {
      this.#listener.onDone?.(this.#complete, this.#rows - this.#before);
      this.#before = this.#rows;
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#completeTo(resultsOf(this.#command));
    this.#settle();
  }

  #settle(): void {
    this.#connection.removeListener("error", this.#lost);
    if (this.#failure) this.#reject(this.#failure);
    else {
      this.#completeTo(this.#complete + 1);
      this.#resolve(this.#rows);
    }
  }
}

/** SERVER_STATUS_IN_TRANS */
const inTransactionFlag = 1;
const openTransactions = new WeakSet<Connection>();

/** Whether the last statement without rows has left a transaction open. */
export function isInTransaction(connection: Connection): boolean {
  return openTransactions.has(connection);
}

/** Runs a text of one or more statements, and returns the last value of the last row that any of them returned. */
export async function lastValue(connection: Connection, text: string): Promise<string | undefined> {
  let last: string | undefined;
  const onRow = (row: unknown[]) => {
    last = String(row.at(-1));
    return true;
  };
  await execute(connection, text, { onResult: () => onRow });
  return last;
}

/** How many results of a command have come to their end. mysql2 tells it nowhere else. */
function resultsOf(command: unknown): number {
  return (command as { _resultIndex?: number } | undefined)?._resultIndex ?? 0;
}

function send(connection: Connection, query: Query, wantsRows: boolean): ReturnType<Connection["query"]> {
  const { sql, values } = typeof query === "string" ? { sql: query, values: undefined } : query;
  if (wantsRows) {
    return connection.query({ sql: values ? connection.format(sql, values.map(literal)) : sql, rowsAsArray: true });
  }
  return values ? connection.execute(sql, values as (string | null)[]) : connection.query(sql);
}

/** A value for `format()` that means the same in every `sql_mode` and the same as in a prepared statement. */
function literal(value: unknown): unknown {
  if (value === undefined) throw new TypeError("A value must not be undefined: give null");
  if (typeof value === "bigint") return mysql.raw(String(value));
  if (typeof value === "object" && value !== null && !(value instanceof Date) && !Buffer.isBuffer(value)) {
    return literal(JSON.stringify(value));
  }
  // Whether a backslash escapes depends on NO_BACKSLASH_ESCAPES.
  if (typeof value !== "string" || !/[\\'\0-\x1f]/.test(value)) return value;
  return mysql.raw(`_utf8mb4 X'${Buffer.from(value).toString("hex")}'`);
}

/** Ends a connection at once: what it is running is rejected with `error`. */
export function sever(connection: Connection, error: Error): void {
  streamOf(connection).destroy(error);
}

/**
 * Rejects with the server's error for a text that is more than one statement, where the connection would run them all.
 *
 * Preparing takes one statement only; 1295 says that it is one, of a kind that cannot be prepared.
 */
export function checkOneStatement(connection: Connection, sql: string): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.prepare(sql, (error, statement) => {
      if (error && error.errno !== 1295) return reject(error);
      statement?.close();
      resolve();
    });
  });
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

/**
 * Interrupts what these connections are running: `KILL QUERY` from a connection of its own to each server.
 *
 * The answer to the query decides what became of it. When even that does not come within `graceMs`, the connection is closed.
 */
export async function interrupt(connections: readonly Connection[], graceMs: number): Promise<void> {
  const servers = new Map<string, [Connection, ...Connection[]]>();
  for (const connection of connections) {
    const others = servers.get(serverOf(connection));
    if (others) others.push(connection);
    else servers.set(serverOf(connection), [connection]);
  }
  await Promise.all([...servers.values()].map((those) => interruptAt(those, graceMs)));
}

/** The same number of a connection is somebody else's on another server, and one name may stand for several. */
function serverOf(connection: Connection): string {
  const { remoteAddress, remotePort } = streamOf(connection);
  const { socketPath, host, port } = connection.config;
  return remoteAddress ? `${remoteAddress} ${remotePort}` : (socketPath ?? `${host} ${port}`);
}

async function interruptAt(connections: [Connection, ...Connection[]], graceMs: number): Promise<void> {
  const [first] = connections;
  const closing = setTimeout(() => {
    const error = Object.assign(new Error(`No answer within ${graceMs / 1000} s of KILL QUERY`), { code: "ETIMEDOUT" });
    for (const connection of connections) sever(connection, error);
  }, graceMs);
  closing.unref();
  try {
    const { host, port, socketPath, user, password, ssl } = first.config;
    const options = { host, port, socketPath, user, password, ssl, connectTimeout: graceMs } as ConnectionOptions;
    const { remoteAddress, remotePort } = streamOf(first);
    if (remoteAddress) options.stream = () => net.connect(remotePort!, remoteAddress); // the name is for the certificate
    const killer = await connect(options);
    for (const { threadId } of connections) await execute(killer, `KILL QUERY ${threadId}`).catch(() => {}); // it is gone
    killer.destroy();
  } catch {} // nobody can tell the server: unless the query ends by itself, its connection is closed when the time is up
  // KILL QUERY may come too late, when the query has just ended: what it hits then is this, and not the next query.
  await Promise.all(connections.map((connection) => execute(connection, "DO 0").catch(() => {})));
  clearTimeout(closing);
}

/** Says goodbye and closes. */
export function close(connection: Connection): Promise<void> {
  return new Promise((resolve) => {
    connection.end(() => resolve());
  });
}

function streamOf(connection: Connection): net.Socket {
  return (connection as unknown as { stream: net.Socket }).stream;
}
