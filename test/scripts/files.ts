/** A unit of work that is no SQL text: an object. `workerInit()` makes its own kind of connection. */
import mysql, { type Connection } from "mysql2/promise";
import { myglobals } from "../../lib/myglobals.ts";

export interface Unit {
  name: string;
  tags: Set<string>;
}

export function workerInit(): Promise<Connection> {
  return mysql.createConnection(myglobals.config.db);
}

export async function workerDo(unit: Unit, connection: Connection): Promise<void> {
  if (unit.name === "bad") throw new TypeError("bad name");
  await connection.query("INSERT INTO files VALUES (?, ?)", [unit.name, [...unit.tags].join()]);
}
