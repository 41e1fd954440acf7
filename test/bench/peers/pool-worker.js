/** One thread of Piscina or Tinypool: it connects when it starts, and then runs one query after another. */
import mysql from "mysql2/promise";
import { db } from "./task.js";

const connection = await mysql.createConnection(db);

export default async function run(query) {
  await connection.query(query);
}
