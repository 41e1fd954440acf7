/** One thread with mysql2's pool. Run: one-thread.js SQL COUNT CONNECTIONS */
import mysql from "mysql2/promise";
import { buildQueries, db, workers } from "./task.js";

const pool = mysql.createPool({ ...db, connectionLimit: workers });
const queries = buildQueries().values();
await Promise.all(Array.from({ length: workers }, work));
await pool.end();

async function work() {
  for (const query of queries) await pool.query(query);
}
