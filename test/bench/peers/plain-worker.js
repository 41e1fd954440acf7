/** A worker thread of plain.js. */
import { parentPort } from "node:worker_threads";
import mysql from "mysql2";
import { db } from "./task.js";

const connection = mysql.createConnection(db);
connection.connect(askForQuery);

parentPort.on("message", (query) => {
  if (query === undefined) connection.end(() => parentPort.close());
  else connection.query(query, askForQuery);
});

function askForQuery(error) {
  if (error) throw error;
  parentPort.postMessage("ready");
}
