/** A script whose units are objects, and whose `workerInit()` returns a promise connection of mysql2. */
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
