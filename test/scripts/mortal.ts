/** A script for plain queries. One thread exits when the test sets `myglobals.mortal` to 1. */
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
