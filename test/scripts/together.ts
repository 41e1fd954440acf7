/** A script whose units wait until `myglobals.together` of them have begun. Then each inserts its connection's id. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "mysql2";
import { myglobals } from "../../lib/myglobals.ts";
import { execute } from "../../lib/mysql/execute.ts";

const arrived = new Int32Array(myglobals.arrived as SharedArrayBuffer);

export async function workerDo(_unit: unknown, connection: Connection): Promise<number> {
  Atomics.add(arrived, 0, 1);
  while (Atomics.load(arrived, 0) < (myglobals.together as number)) await sleep(5);
  return execute(connection, "INSERT INTO connections VALUES (CONNECTION_ID())");
}
