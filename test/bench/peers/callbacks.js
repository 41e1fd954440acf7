/** One thread with mysql2's callbacks and no pool. Run: callbacks.js SQL COUNT CONNECTIONS */
import mysql from "mysql2";
import { buildQueries, db, workers } from "./task.js";

const queries = buildQueries().values();
for (let worker = 0; worker < workers; worker++) work(mysql.createConnection(db));

function work(connection) {
  const { value: query, done } = queries.next();
  if (done) return connection.end();
  connection.query(query, [], (error) => {
    if (error) throw error;
    work(connection);
  });
}
