/** A script whose workers cannot reconnect: a second `workerInit()` of a worker throws. */
import { workerData } from "node:worker_threads";
import type { Connection } from "mysql2";
import { myglobals } from "../../lib/myglobals.ts";
import { connect } from "../../lib/mysql/connection.ts";

const opened = new Set<number>();

export async function workerInit(): Promise<Connection> {
  const [worker] = workerData.workers;
  if (opened.has(worker!)) throw new Error("No second connection");
  opened.add(worker!);
  return connect({ ...myglobals.config.db, multipleStatements: true }); // for --batch
}
