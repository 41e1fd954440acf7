/** A worker thread of Piscina or Tinypool. It connects when it starts. */
import mysql from "mysql2/promise";
import { db } from "./task.js";

const connection = await mysql.createConnection(db);

export default async function run(query) {
  await connection.query(query);
}
