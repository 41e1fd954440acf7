/** Opening, using, interrupting and closing a MySQL connection. */
import mysql, { type Connection, type ConnectionOptions } from "mysql2";
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

/**
 * Runs one query: SQL text as text, `{ sql, values }` as a prepared statement.
 *
 * It listens to mysql2's events, which cost less than its promises and keep no rows.
 *
 * @returns the number of rows: returned by a SELECT, matched by an UPDATE, inserted, deleted.
 */
export function execute(connection: Connection, query: Query): Promise<number> {
  return new Promise((resolve, reject) => {
    let rows = 0;
    let isRow = false;
    let failure: Error | undefined;
    const settle = () => {
      connection.removeListener("error", fail);
      if (failure) reject(failure);
      else resolve(rows);
    };
    const fail = (error: Error) => {
      failure = error;
      settle();
    };
    connection.on("error", fail); // a lost connection is told to the connection, not to the query
    const { sql, values } = typeof query === "string" ? { sql: query, values: undefined } : query;
    let command: ReturnType<Connection["query"]>;
    try {
      command = values ? connection.execute(sql, values as (string | null)[]) : connection.query(sql);
    } catch (error) {
      return fail(error as Error); // mysql2 refuses values such as undefined by throwing
    }
    command.on("fields", (fields: unknown) => {
      isRow = fields !== undefined;
    });
    command.on("result", (result: { affectedRows: number }) => {
      rows += isRow ? 1 : result.affectedRows;
    });
    command.on("error", (error: Error) => {
      failure = error;
    });
    command.on("end", settle);
  });
}

/** Sends `KILL QUERY` for the connections with these ids, from a connection of its own. */
export async function killQueries(options: ConnectionOptions, ids: readonly number[]): Promise<void> {
  const connection = await connect({ ...options, connectTimeout: 1000 });
  try {
    for (const id of ids) await execute(connection, `KILL QUERY ${id}`).catch(() => {}); // it may be gone already
  } finally {
    connection.destroy();
  }
}
