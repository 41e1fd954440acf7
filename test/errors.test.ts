import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import type mysql from "mysql2";
import { connect } from "../lib/mysql/connection.ts";
import { backoffMs, type DatabaseError, isLost, isTransient, verdictOf } from "../lib/mysql/errors.ts";
import { execute } from "../lib/mysql/execute.ts";
import { useDatabase } from "./database.ts";
import { startProxy } from "./proxy.ts";
import { lacks, numbers, target } from "./target.ts";

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

test("an error has the name that its own server has for it", { skip: lacks("CTEs") }, async () => {
  await sql("CREATE TABLE checked (v INT CHECK (v > 0))");
  const connection = await connect(db);
  const name = target.isMariaDB ? "ER_CONSTRAINT_FAILED" : "ER_CHECK_CONSTRAINT_VIOLATED";
  const text = "INSERT INTO checked VALUES (0)";
  const prepared = await execute(connection, { sql: text, values: [] }).catch((error) => error);
  assert.deepEqual([(await errorOf(connection, text)).code, prepared.code], [name, name]);
  const { errno, code } = await errorOf(connection, "SELECT 1 FROM checked WHERE ROW_NUMBER() OVER () = 1");
  assert.deepEqual([errno, code], target.isMariaDB ? [4015, undefined] : [3593, "ER_WINDOW_INVALID_WINDOW_FUNC_USE"]);
  connection.destroy();
});

test("verdictOf() a commit that a Galera node could not end is unknown, and another server's conflict is to try again", () => {
  assert.equal(verdictOf({ message: "", errno: 1180 }), "unknown"); // seen in test/galera.test.ts, sometimes with the row there
  for (const errno of [3101, 8002, 8005, 8022, 8028, 9007]) assert.equal(verdictOf({ message: "", errno }), "retry");
});

test("verdictOf() what a proxy or TiDB had no server, no storage or no memory for is to try again", () => {
  for (const errno of [1041, 1203, 8027, 9001, 9002, 9003, 9004, 9005, 9008]) {
    assert.equal(verdictOf({ message: "", errno }), "retry");
  }
  const changed = "Information schema is changed. [try again later]";
  assert.equal(verdictOf({ message: changed, errno: 1105 }), "retry");
  assert.equal(verdictOf({ message: "unknown error", errno: 1105 }), "failed");
});

test("verdictOf() what vtgate says of a shard that it has lost or given up is unknown, and what the shard says is its word", () => {
  const at = "target: shop.-80.primary: vttablet: rpc error: code =";
  for (const [errno, message, verdict] of [
    [1105, `${at} Unavailable desc = error reading from server: EOF`, "unknown"],
    [1317, `${at} Canceled desc = context canceled`, "unknown"],
    [1317, `${at} Canceled desc = Query execution was interrupted (errno 1317) (sqlstate 70100)`, "failed"],
    [1105, "target: shop.-80.primary: no healthy tablet available for 'keyspace:\"shop\"'", "retry"],
    [1105, `${at} Code(17) desc = operation not allowed in state SHUTTING_DOWN`, "retry"],
    [1213, `${at} Aborted desc = Deadlock found (errno 1213) (sqlstate 40001)`, "retry"],
    [
      1317,
      `${at} Canceled desc = (errno 1317) (sqlstate 70100): Query execution was interrupted, elapsed time: 1s, killing connection ID 9`,
      "unknown",
    ],
    [
      3024,
      `${at} Canceled desc = (errno 3024) (sqlstate HY000): Query execution was interrupted, elapsed time: 1s, killing query ID 9`,
      "unknown",
    ],
    [
      1317,
      `${at} Canceled desc = (errno 1317) (sqlstate 70100): Query execution was interrupted before execution started`,
      "failed",
    ],
    [1317, "Query execution was interrupted", "failed"],
  ] as const) {
    assert.equal(verdictOf({ errno, message }), verdict, message);
  }
});

test("verdictOf() an ERR packet with an error of clients is unknown, and its connection lost", () => {
  for (const errno of [2000, 2006, 2013, 2999]) {
    const error = { message: "", errno };
    assert.deepEqual([verdictOf(error), isLost(error), isTransient(error)], ["unknown", true, true]);
  }
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

test("verdictOf() an answer that is no answer is unknown, and mysql2 prints nothing", async (t) => {
  const proxy = await startProxy(t, db.socketPath);
  const connection = await connect({ ...db, socketPath: proxy.path });
  const trace = t.mock.method(console, "trace", () => {});
  proxy.arm(/DO 1/, new Uint8Array([0, 0, 0, 1]));
  const error = await errorOf(connection, "DO 1");
  assert.deepEqual([verdictOf(error), isLost(error)], ["unknown", true]);
  assert.equal(error.message, "The server answered with an empty packet");
  assert.equal(trace.mock.callCount(), 0);
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

test("connect() names the authentication plugin that is not supported", async (t) => {
  const proxy = await startProxy(t, db.socketPath);
  const besides = "; ALTER USER … IDENTIFIED VIA … OR … gives the account one of these besides";
  for (const [sent, name, what] of [
    ["client_ed25519\0", "ed25519", besides],
    ["", "mysql_old_password", ""],
  ]) {
    const body = Buffer.concat([Buffer.from([0xfe]), Buffer.from(sent!)]);
    proxy.arm(/somebody/, Buffer.concat([Buffer.from([body.length, 0, 0, 2]), body]));
    await assert.rejects(connect({ ...db, socketPath: proxy.path, user: "somebody", password: "secret" }), {
      message: `The account's authentication plugin, ${name}, is not supported: mysql_native_password and caching_sha2_password are${what}`,
    });
  }
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
