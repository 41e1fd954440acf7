/** Queries on a thread that ends once, as soon as `myglobals.mortal` says so. */
import type { Connection } from "mysql2";
import { myglobals } from "../../lib/myglobals.ts";
import { connect } from "../../lib/mysql/connection.ts";

const mortal = new Int32Array(myglobals.mortal as SharedArrayBuffer);

export function workerInit(): Promise<Connection> {
  setInterval(() => {
    if (Atomics.compareExchange(mortal, 0, 1, 0) === 1) process.exit(7);
  }, 5).unref();
  return connect(myglobals.config.db);
}
