/** What a connection's state means for the outcomes: transactions left open, USE and SET, sql_mode, workers that give up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { doWork, RunError } from "../lib/mp.ts";
import { useDatabase } from "./database.ts";

const { sql } = await useDatabase(["--innodb-lock-wait-timeout=1", "--max-allowed-packet=1M"]);
await sql("CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, v INT)");
await sql("CREATE TABLE locked (id INT PRIMARY KEY, v INT); INSERT INTO locked VALUES (1, 0)");

test("doWork() does not send a compound statement again of which a part may have been applied", async () => {
  await sql("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; BEGIN; UPDATE locked SET v = 1");
  const logged = "SELECT v FROM log ORDER BY id";
  const compound = "BEGIN NOT ATOMIC INSERT INTO log (v) VALUES (1); UPDATE locked SET v = 2; END";
  const { failed, failures } = await doWork([compound], 1, { retries: 2 });
  assert.deepEqual([failed, failures[0]?.code], [1, "ER_LOCK_WAIT_TIMEOUT"]);
  assert.deepEqual(await sql(logged), [{ v: 1 }]);
  const ledger = "log_ledger";
  const commits = "BEGIN NOT ATOMIC INSERT INTO log (v) VALUES (2); COMMIT; UPDATE locked SET v = 2; END";
  const { unknown } = await doWork([commits], 1, { retries: 2, ledger });
  assert.equal(unknown, 1);
  assert.deepEqual(await sql(logged), [{ v: 1 }, { v: 2 }]);
  await sql("ROLLBACK");
  const again = await doWork([compound], 1, { retries: 2, ledger: "other_ledger" });
  assert.equal(again.done, 1, "undone by the ledger's transaction, it is sent again");
});

test("doWork() rejects when a transaction was left open", async () => {
  const queries = ["BEGIN", "INSERT INTO log (v) VALUES (10)", "INSERT INTO log (v) VALUES (11)"];
  for (const batch of [1, 4]) {
    await assert.rejects(doWork(queries, 1, { batch }), (error) => {
      assert.ok(error instanceof RunError);
      assert.equal(error.message, "A transaction was left open: what worker 1 has run in it is rolled back");
      assert.equal(error.summary.done, 3);
      return true;
    });
  }
  await assert.rejects(doWork(["SET autocommit = 0", queries[1]!], 1), /transaction was left open/);
  assert.deepEqual(await sql("SELECT * FROM log WHERE v >= 10"), []);
  assert.equal((await doWork([...queries, "COMMIT"], 1)).done, 4);
});

test("doWork() does not go on without what the lost connection had set", async () => {
  await sql("CREATE DATABASE elsewhere");
  for (const [first, what] of [
    ["USE elsewhere", "what USE has set"],
    ["SET NAMES latin1", "what SET has set"],
    ["BEGIN", "a transaction that was open"],
  ] as const) {
    await assert.rejects(doWork([first, "KILL CONNECTION_ID()", "CREATE TABLE landed (id INT)"], 1), {
      message: `Cannot go on: a connection was lost, and with it ${what}`,
    });
  }
  assert.deepEqual(await sql("SHOW TABLES LIKE 'landed'"), []);
});

test("doWork() gives the query of a worker that cannot connect again to another worker", async () => {
  const script = new URL("./scripts/once.ts", import.meta.url);
  async function* queries() {
    yield "DO 0";
    let ids: { id: number }[] = [];
    while (ids.length < 2) {
      ids = await sql(
        "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND command = 'Sleep'",
      );
    }
    await sql(`KILL CONNECTION ${ids[0]!.id}`);
    for (let n = 0; n < 8; n++) yield "DO SLEEP(0.01)";
  }
  const { total, done, skipped } = await doWork(queries(), 2, { threads: 2, script });
  assert.deepEqual([total, done, skipped], [9, 9, 0]);
});

test("doWork() blames no other query for one that is larger than the server takes", async () => {
  const { done, failures } = await doWork([`DO '${"x".repeat(2_000_000)}'`, "DO 1", "DO 2", "DO 3"], 1);
  assert.deepEqual([done, failures.map(({ seq, outcome }) => [seq, outcome])], [3, [[1, "failed"]]]);
});

test("doWork() in batches leaves a plain failure a failure, and sends nothing again that must not be", async () => {
  const missing = await doWork(["SELECT * FROM missing1", "SELECT * FROM missing2"], 1, { batch: 2 });
  assert.deepEqual([missing.failed, missing.unknown, missing.retries], [2, 0, 0]);
  await sql("BEGIN; UPDATE locked SET v = 1");
  const waits = await doWork(["UPDATE locked SET v = 3", "DO 1"], 1, { batch: 2, retries: 0 });
  await sql("ROLLBACK");
  assert.deepEqual([waits.failed, waits.done, waits.retries], [1, 1, 0]);
});

test("doWork() with a time limit interrupts only the query that it is for, also in batches", async () => {
  const queries = ["DO 0", "SELECT SLEEP(3600)", "INSERT INTO log (v) VALUES (20)", "SELECT SLEEP(3600)", "DO 1"];
  const { done, failures } = await doWork(queries, 1, { batch: 8, timeoutSeconds: 0.3 });
  assert.deepEqual([done, failures.map(({ seq }) => seq)], [3, [2, 4]]);
});

test("doWork() ends with the reason when onEnded throws", async () => {
  const onEnded = () => {
    throw new Error("no disk");
  };
  await assert.rejects(doWork(["DO 1", "DO 2"], 1, { onEnded }), { name: "RunError", message: "no disk" });
});

test("doWork() rejects a queue or a query that is none", async () => {
  for (const [queue, message] of [
    ["DO 1", /^Cannot read the queries: .* not from 'DO 1'$/],
    [undefined, /^Cannot read the queries: .* not from undefined$/],
    [Promise.resolve([]), /^Cannot read the queries: .* a promise: await it$/],
    [["DO 1", 42], /^Cannot run query 2: it must be SQL text or \{ sql, values \}, not 42$/],
  ] as const) {
    await assert.rejects(doWork(queue as never, 1), { message });
  }
  for (const options of [{ timeoutSeconds: 3_000_000 }, { retries: Number.NaN }, { connectTimeoutSeconds: 0 }]) {
    await assert.rejects(doWork(["DO 1"], 1, options), RangeError);
  }
});

test("a ledger that is dropped half-way ends the run", async () => {
  async function* queries() {
    yield "INSERT INTO log (v) VALUES (30)";
    while ((await sql("SELECT 1 FROM log WHERE v = 30")).length === 0);
    await sql("DROP TABLE dropped");
    for (let n = 0; n < 100; n++) yield "INSERT INTO log (v) VALUES (31)";
  }
  await assert.rejects(
    doWork(queries(), 1, { ledger: "dropped" }),
    /^RunError: Cannot go on: the ledger cannot be used any more: /,
  );
  assert.deepEqual(await sql("SELECT 1 FROM log WHERE v = 31"), []);
});

test("a ledger refuses what locks for all, and waits beyond the time limit for a query that runs elsewhere", async () => {
  const { failures } = await doWork(["FLUSH TABLES WITH READ LOCK"], 1, { ledger: "locks" });
  assert.match(failures[0]!.message, /^Cannot run FLUSH TABLES WITH READ LOCK with a ledger/);
  await sql("BEGIN; INSERT INTO waits VALUES (1, 'another', NOW())").catch(() => {});
  await doWork([], 1, { ledger: "waits" });
  await sql("BEGIN; INSERT INTO waits (seq, hash) VALUES (1, 'x')");
  const progress = { update() {}, log() {}, report() {}, stop() {} };
  const running = doWork(["INSERT INTO log (v) VALUES (40)"], 1, { ledger: "waits", timeoutSeconds: 0.2, progress });
  const interrupted = async () =>
    Number((await sql<{ Value: string }>("SHOW GLOBAL STATUS LIKE 'Com_kill'"))[0]!.Value) >= 2;
  while (!(await interrupted()));
  await sql("ROLLBACK");
  const { done } = await running;
  assert.equal(done, 1);
});
