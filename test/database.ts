/** A sandbox for one test file, with a connection to look into it. */
import { after } from "node:test";
import mysql from "mysql2/promise";
import { startSandbox } from "../lib/command/sandbox.ts";
import { myglobals } from "../lib/myglobals.ts";

export interface Database {
  readonly db: { socketPath: string; user: string; database: string };
  readonly pid: number;
  /** Runs SQL on a connection that no worker has and returns the rows. */
  sql<Row = Record<string, unknown>>(text: string): Promise<Row[]>;
}

/** Starts a sandbox, points `myglobals` at it, and ends it after the tests of the file. */
export async function useDatabase(args: string[] = []): Promise<Database> {
  const sandbox = await startSandbox({ args, orders: 0 });
  const connection = await mysql.createConnection({ ...sandbox.db, multipleStatements: true });
  after(async () => {
    connection.destroy();
    await sandbox.stop();
  });
  myglobals.config = { db: sandbox.db };
  return {
    db: sandbox.db,
    pid: sandbox.pid,
    sql: async (text) => (await connection.query(text))[0] as never,
  };
}

/** A server's counter, such as `Com_do`. */
export async function status(database: Database, name: string): Promise<number> {
  const [row] = await database.sql<{ Value: string }>(`SHOW GLOBAL STATUS LIKE '${name}'`);
  return Number(row?.Value);
}
