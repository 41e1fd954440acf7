/** One thread with mysql2's pool that prints rows as NDJSON. Run: one-thread-rows.js FILE CONNECTIONS */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import mysql from "mysql2/promise";
import { db } from "./task.js";

const [file, connections] = process.argv.slice(2);
const pool = mysql.createPool({ ...db, connectionLimit: Number(connections) });
const queries = (await readFile(file, "utf8")).split(";\n").filter(Boolean).values();
await Promise.all(Array.from({ length: Number(connections) }, work));
await pool.end();

async function work() {
  for (const query of queries) {
    const [rows] = await pool.query(query);
    let lines = "";
    for (const row of rows) lines += `${JSON.stringify(row)}\n`;
    if (!process.stdout.write(lines)) await once(process.stdout, "drain");
  }
}
