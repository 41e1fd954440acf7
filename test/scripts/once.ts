/** Each worker gets one connection and no other. */
import type { Connection } from "mysql2";
import { connect } from "../../lib/connection.ts";
import { myglobals } from "../../lib/myglobals.ts";

const opened = new Set<number>();

export async function workerInit(): Promise<Connection> {
  const [worker] = (await import("../../lib/thread.ts")).data.workers;
  if (opened.has(worker!)) throw new Error("No second connection");
  opened.add(worker!);
  return connect({ ...myglobals.config.db, multipleStatements: true }); // for --batch
}
