/** Opening, using, interrupting and closing a MySQL connection. */
import type { Socket } from "node:net";
import mysql, { type Connection, type ConnectionOptions, type FieldPacket } from "mysql2";
import type { Query } from "./queue.ts";

/** Connects and runs each query by itself: `AUTOCOMMIT=1`. Rejects with mysql2's error. */
export async function connect(options: ConnectionOptions): Promise<Connection> {
  // A prepared statement for each of many texts would end in the server's limit for all clients (error 1461).
  const connection = mysql.createConnection({ maxPreparedStatements: 64, ...options });
  // Without a listener, a connection that is lost while idle would end the thread. The next query meets the error.
  connection.on("error", () => {});
  await new Promise<void>((resolve, reject) => {
    connection.connect((error) => (error ? reject(error) : resolve()));
  });
  await execute(connection, "SET AUTOCOMMIT=1");
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
  const { onResult, onDone } = listener;
  return new Promise((resolve, reject) => {
    let rows = 0; // of all results
    let before = 0; // of the results that are complete
    let complete = 0;
    let isRow = false;
    let sink: ((row: unknown[]) => boolean) | undefined;
    let failure: Error | undefined;
    const completeTo = (count: number) => {
      for (; complete < count; complete++) {
        onDone?.(complete, rows - before);
        before = rows;
      }
    };
    const settle = () => {
      connection.removeListener("error", fail);
      if (failure) return reject(failure);
      completeTo(complete + 1);
      resolve(rows);
    };
    const fail = (error: Error) => {
      failure ??= error;
      completeTo(resultsOf(command));
      settle();
    };
    connection.on("error", fail); // a lost connection is told to the connection, not to the query
    let command: ReturnType<Connection["query"]> | undefined;
    try {
      command = send(connection, query, onResult !== undefined);
    } catch (error) {
      return fail(error as Error); // mysql2 refuses values such as undefined by throwing
    }
    command.on("fields", (fields: FieldPacket[] | undefined) => {
      completeTo(resultsOf(command));
      isRow = fields !== undefined;
      sink = fields && onResult?.(complete, fields);
    });
    command.on("result", (result: unknown) => {
      if (!isRow) rows += (result as { affectedRows: number }).affectedRows;
      else {
        rows++;
        if (sink?.(result as unknown[]) === false) connection.pause();
      }
    });
    command.on("error", (error: Error) => {
      failure = error;
      completeTo(resultsOf(command));
    });
    command.on("end", settle);
  });
}

/** How many results of a command have come to their end. mysql2 tells it nowhere else. */
function resultsOf(command: unknown): number {
  return (command as { _resultIndex?: number } | undefined)?._resultIndex ?? 0;
}

function send(connection: Connection, query: Query, wantsRows: boolean): ReturnType<Connection["query"]> {
  const { sql, values } = typeof query === "string" ? { sql: query, values: undefined } : query;
  if (wantsRows) {
    return connection.query({ sql: values ? connection.format(sql, [...values]) : sql, rowsAsArray: true });
  }
  if (values) return connection.execute({ sql, rowsAsArray: true }, values as (string | null)[]);
  return connection.query({ sql, rowsAsArray: true });
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
 * Interrupts what these connections are running: `KILL QUERY` from a connection of its own.
 *
 * The answer to the query decides what became of it. When even that does not come within `graceMs`, the connection is closed.
 */
export async function interrupt(connections: readonly Connection[], graceMs: number): Promise<void> {
  const [first] = connections;
  if (!first) return;
  const closing = setTimeout(() => {
    const error = Object.assign(new Error(`No answer within ${graceMs / 1000} s of KILL QUERY`), { code: "ETIMEDOUT" });
    for (const connection of connections) streamOf(connection).destroy(error);
  }, graceMs);
  closing.unref();
  try {
    const { host, port, socketPath, user, password, ssl } = first.config;
    const options = { host, port, socketPath, user, password, ssl, connectTimeout: graceMs } as ConnectionOptions;
    const killer = await connect(options);
    for (const { threadId } of connections) await execute(killer, `KILL QUERY ${threadId}`).catch(() => {}); // it is gone
    killer.destroy();
  } catch {
    return; // nobody can tell the server: the connections are closed when the time is up
  }
  // It may have come too late, when the query had just ended: what it would hit then is this, and not the next query.
  await Promise.all(connections.map((connection) => execute(connection, "DO 0").catch(() => {})));
  clearTimeout(closing);
}

/** Says goodbye and closes. */
export function close(connection: Connection): Promise<void> {
  return new Promise((resolve) => {
    connection.end(() => resolve());
  });
}

function streamOf(connection: Connection): Socket {
  return (connection as unknown as { stream: Socket }).stream;
}
