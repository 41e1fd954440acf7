import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import type mysql from "mysql2";
import { connect } from "../lib/mysql/connection.ts";
import { backoffMs, type DatabaseError, isLost, isTransient, verdictOf } from "../lib/mysql/errors.ts";
import { execute } from "../lib/mysql/execute.ts";
import { useDatabase } from "./database.ts";
import { numbers } from "./target.ts";

const { sql, db } = await useDatabase();

/** The error that a query meets. */
async function errorOf(connection: mysql.Connection, query: string): Promise<DatabaseError> {
  return execute(connection, query).then(
    () => assert.fail(`${query} has not failed`),
    (error) => error,
  );
}

test("verdictOf() a lock wait timeout, a read-only server and a deadlock is to try again", async () => {
  await sql(`CREATE TABLE t (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(2)}`);
  await sql("SET GLOBAL innodb_lock_wait_timeout = 1; BEGIN; UPDATE t SET v = 1 WHERE id = 1");
  const connection = await connect(db);
  assert.equal(verdictOf(await errorOf(connection, "UPDATE t SET v = 2 WHERE id = 1")), "retry");
  await sql("COMMIT");
  await execute(connection, "SET SESSION TRANSACTION READ ONLY");
  assert.equal(verdictOf(await errorOf(connection, "UPDATE t SET v = 2 WHERE id = 1")), "retry");
  connection.destroy();
  assert.equal(verdictOf({ message: "", errno: 1213 }), "retry");
});

test("verdictOf() the server's other errors, and what was never sent, is failed", async () => {
  const connection = await connect(db);
  assert.equal(verdictOf(await errorOf(connection, "no sql")), "failed");
  assert.equal(verdictOf(await errorOf(connection, "SELECT * FROM no_such_table")), "failed");
  connection.destroy();
  assert.equal(verdictOf(new TypeError("thrown by workerDo()")), "failed");
  const trigger = {
    message: "Referenced trigger 'a' for the given action time and event type does not exist",
    errno: 4031,
  };
  assert.deepEqual([verdictOf(trigger), isLost(trigger)], ["failed", false], "MariaDB's 4031");
});

test("verdictOf() a commit that a Galera node could not end is unknown, and another server's conflict is to try again", () => {
  assert.equal(verdictOf({ message: "", errno: 1180 }), "unknown"); // seen in test/galera.test.ts, sometimes with the row there
  for (const errno of [3101, 8002, 8005, 8022, 8028, 9007]) assert.equal(verdictOf({ message: "", errno }), "retry");
});

test("verdictOf() a connection lost under a query is unknown, and a query on a closed one was not sent", async () => {
  const connection = await connect(db);
  const lost = errorOf(connection, "DO SLEEP(3600)");
  await sql(`KILL CONNECTION ${connection.threadId}`);
  const error = await lost;
  assert.equal(verdictOf(error), "unknown");
  assert.ok(isLost(error));
  const next = await errorOf(connection, "DO 0");
  assert.equal(verdictOf(next), "reconnect");
  assert.ok(isLost(next));
});

test("connect() has one time limit for all of it", async (t) => {
  const silent = net.createServer((client) => {
    const upstream = net.connect(db.socketPath);
    upstream.on("error", () => {}).pipe(client);
    client.once("data", (login) => upstream.write(login)); // and nothing after that
    client.on("error", () => {}).on("close", () => upstream.destroy());
  });
  t.after(() => silent.close());
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { port } = silent.address() as net.AddressInfo;
  await assert.rejects(connect({ host: "127.0.0.1", port, user: db.user, connectTimeout: 500 }), { code: "ETIMEDOUT" });
});

test("isTransient() tells a server that is away or full from one that refuses", async () => {
  const refused = await connect({ ...db, socketPath: `${db.socketPath}.no` }).catch((error) => error);
  assert.equal(isTransient(refused), true);
  const unknown = await connect({ ...db, database: "no_such_database" }).catch((error) => error);
  assert.equal(isTransient(unknown), false);
  assert.equal(isTransient({ message: "", errno: 1040 }), true);
});

test("backoffMs() grows to 5 s at the most", () => {
  for (let tries = 1; tries < 100; tries++) {
    const ms = backoffMs(tries);
    assert.ok(ms >= 0 && ms <= Math.min(5000, 25 * 2 ** tries));
  }
});
