/** Outcomes that depend on a connection's state: open transactions, USE and SET, sql_mode, workers that cannot reconnect. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { MessageChannel } from "node:worker_threads";
import { releaseAhead } from "../lib/features/joblog/hook.ts";
import { feature as rows } from "../lib/features/rows/worker.ts";
import { doWork, type Ended, RunError } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { connect } from "../lib/mysql/connection.ts";
import { execute } from "../lib/mysql/execute.ts";
import type { Snapshot } from "../lib/parent/figures.ts";
import type { Settings } from "../lib/shared/messages.ts";
import type { Job } from "../lib/worker/job.ts";
import { Thread } from "../lib/worker/thread.ts";
import { status, useDatabase } from "./database.ts";
import { lacks, numbers, target } from "./target.ts";
import { silent } from "./watch.ts";

const database = await useDatabase(["--innodb-lock-wait-timeout=1", "--max-allowed-packet=1M"]);
const { sql } = database;
await sql("CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, v INT)");
await sql("CREATE TABLE locked (id INT PRIMARY KEY, v INT); INSERT INTO locked VALUES (1, 0)");

const noCompound = lacks("BEGIN NOT ATOMIC"); // test/ledger.test.ts has CALL, which is a compound statement on every server
test("doWork() does not retry a compound statement that may have been applied in part", {
  skip: noCompound,
}, async () => {
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

test("doWork() rejects if the input leaves a transaction open", async () => {
  const queries = ["BEGIN", "INSERT INTO log (v) VALUES (10)", "INSERT INTO log (v) VALUES (11)"];
  for (const batch of [1, 4]) {
    await assert.rejects(doWork(queries, 1, { batch }), (error) => {
      assert.ok(error instanceof RunError);
      assert.equal(error.message, "A transaction was left open: what worker 1 has run in it is rolled back");
      assert.deepEqual([error.summary.done, error.summary.failed], [0, 3]);
      return true;
    });
  }
  for (const batch of [1, 4]) {
    const open = ["SET autocommit = 0", queries[1]!, queries[2]!];
    await assert.rejects(doWork(open, 1, { batch }), (error) => {
      assert.match((error as RunError).message, /transaction was left open/);
      assert.deepEqual([(error as RunError).summary.done, (error as RunError).summary.failed], [1, 2]);
      return true;
    });
  }
  assert.deepEqual(await sql("SELECT * FROM log WHERE v >= 10"), []);
  assert.equal((await doWork([...queries, "COMMIT"], 1)).done, 4);
});

test("doWork() does not go on after an error has rolled back the open transaction", async () => {
  await sql(`CREATE TABLE many (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(200)}`);
  await sql("SET GLOBAL innodb_lock_wait_timeout = 60");
  const waits = () => status(database, "Innodb_row_lock_current_waits");
  for (const batch of [1, 8]) {
    for (const first of ["BEGIN", "SET autocommit = 0"]) {
      await sql("BEGIN; UPDATE many SET v = v + 100 WHERE id > 1"); // in a deadlock, the larger transaction wins
      const queries = [first, ...[1, 2].map((id) => `UPDATE many SET v = v + 1 WHERE id = ${id}`), "COMMIT", "DO 1"];
      const running = doWork(queries, 1, { batch });
      const rejects = assert.rejects(running, (error) => {
        assert.ok(error instanceof RunError);
        assert.match(error.message, /^Cannot go on: a transaction that was open is rolled back: Deadlock found/);
        // The transaction is rolled back. BEGIN is part of it, and SET autocommit belongs to the session setup.
        assert.deepEqual([error.summary.done, error.summary.failed], first === "BEGIN" ? [0, 2] : [1, 1]);
        assert.equal(error.summary.skipped, 3);
        return true;
      });
      let isOver = false;
      const ended = () => {
        isOver = true;
      };
      rejects.then(ended, ended);
      while (!isOver && (await waits()) === 0);
      await sql("UPDATE many SET v = v + 100 WHERE id = 1; ROLLBACK");
      await rejects;
    }
  }
  await sql("SET GLOBAL innodb_lock_wait_timeout = 1");
  assert.deepEqual(await sql("SELECT * FROM many WHERE v <> 0"), []);
});

test("doWork() does not retry a query that has changed a table without transactions", async () => {
  await sql("CREATE TABLE plain (id INT PRIMARY KEY AUTO_INCREMENT, v INT) ENGINE = MyISAM");
  await sql("CREATE TABLE source (id INT PRIMARY KEY, v INT); INSERT INTO source VALUES (1, 0), (2, 0)");
  await sql("BEGIN; UPDATE source SET v = 1 WHERE id = 2");
  const copy = "INSERT INTO plain (v) SELECT v FROM source ORDER BY id FOR UPDATE";
  for (const batch of [1, 2]) {
    const { done, failures } = await doWork([copy, "DO 1"], 1, { batch, retries: 3 });
    assert.equal(done, 1);
    assert.match(failures[0]?.message ?? "", /; what it did to tables without transactions stays$/);
  }
  await sql("ROLLBACK");
  assert.equal((await sql("SELECT * FROM plain")).length, 2);
});

test("doWork() reports the true outcome of a query whose rows mysql2 cannot parse", {
  skip: lacks("JSON as text"),
}, async () => {
  await sql("CREATE TABLE odd (j JSON)");
  await sql(`INSERT INTO odd SELECT CONCAT('{"a":"', REPEAT('x', 50000), '","b":1.}') FROM ${numbers(3)}`); // MariaDB accepts it as JSON, and JSON.parse() does not
  await sql("CREATE TABLE ran (id INT PRIMARY KEY AUTO_INCREMENT, v INT)");
  const insert = "INSERT INTO ran (v) VALUES (1)";
  const queries = Array.from({ length: 20 }, () => ["SELECT j FROM odd", insert]).flat();
  for (const batch of [1, 16]) {
    await sql("TRUNCATE ran");
    assert.equal((await doWork(queries, 1, { batch })).done, 40);
    assert.equal((await sql("SELECT * FROM ran")).length, 20);
  }
  const prepared = { sql: "SELECT j, 1.5 AS a, NOW() AS b, NULL AS c FROM odd WHERE 1 = ?", values: [1] };
  assert.deepEqual((await doWork([prepared, prepared], 1)).rows, 6);
  await sql("TRUNCATE ran");
  const lines: string[] = [];
  const onRows = (chunk: Uint8Array) => void lines.push(...`${Buffer.from(chunk)}`.trim().split("\n"));
  const odd = [
    `${insert} RETURNING id AS __proto__`,
    "SET character_set_results = NULL",
    "SELECT CONVERT('A' USING hp8) AS a",
  ];
  assert.equal((await doWork(odd, 1, { onRows })).done, 3);
  assert.deepEqual(lines, ['{"seq":1,"row":{"__proto__":1}}', '{"seq":3,"row":{"a":"A"}}']);
});

test("doWork() with one worker starts no more queries after maxFailures", async () => {
  const inserts = Array.from({ length: 50 }, () => "INSERT INTO log (v) VALUES (30)");
  for (const batch of [1, 16]) {
    const { done, failed, skipped } = await doWork(["no sql", ...inserts], 1, { batch, maxFailures: 1 });
    assert.deepEqual([done, failed, skipped], [0, 1, 50]);
  }
  const { reason } = await doWork(["DO 1", "no sql"], 1, { maxFailures: 1 });
  assert.equal(reason, undefined, "all has run");
});

test("doWork() with a ledger refuses statements that affect only their own connection", async () => {
  for (const statement of ["USE elsewhere", "SET @a = 1", "CREATE TEMPORARY TABLE t (id INT)"]) {
    const queries = ["DO 1", statement, "INSERT INTO log (v) VALUES (40)"];
    const words = /^\w+(?: TEMPORARY TABLE)?/.exec(statement)![0];
    await assert.rejects(doWork(queries, 1, { ledger: "session_ledger" }), {
      message: `Cannot go on at query 2: ${words} applies to one connection only, and with a ledger each query must stand by itself${words.includes("TABLE") ? "" : ": put it before all others"}`,
    });
  }
  assert.deepEqual(await sql("SELECT * FROM log WHERE v = 40"), []);
});

test("doWork() does not go on after it has lost a connection with session settings", async () => {
  await sql("CREATE DATABASE elsewhere");
  for (const [first, what] of [
    ["USE elsewhere", "what USE has set"],
    ["SET NAMES latin1", "what SET has set"],
    ["BEGIN", "a transaction that was open"],
  ] as const) {
    await assert.rejects(doWork(["DO 1", first, "KILL CONNECTION_ID()", "CREATE TABLE landed (id INT)"], 1), {
      message: `Cannot go on: a connection was lost, and with it ${what}`,
    });
  }
  assert.deepEqual(await sql("SHOW TABLES LIKE 'landed'"), []);
});

test("doWork() runs the session setup on a new connection, too", async () => {
  await sql("CREATE DATABASE other; CREATE TABLE other.landed (id INT); CREATE TABLE landed (id INT)");
  const insert = "INSERT INTO landed VALUES (1)";
  const { done, unknown } = await doWork(["USE other", insert, "KILL CONNECTION_ID()", insert], 1);
  assert.deepEqual([done, unknown], [3, 1]);
  assert.equal((await sql("SELECT * FROM other.landed")).length, 2);
  assert.deepEqual(await sql("SELECT * FROM landed"), []);
  await sql("DROP TABLE landed; DROP DATABASE other");
});

test("doWork() treats the same statements as the session setup in a run and in a dry run", async () => {
  const top = ["SET @a = 1", { sql: "SET NAMES utf8mb4" }];
  const queries = [...top, { sql: "SET @a = ?", values: [1] }, "SET @b = 2"];
  const shown: number[] = [];
  const dryRun = (seq: number) => void shown.push(seq);
  await doWork(queries, 1, { dryRun, resumed: true, earlier: () => "done" });
  assert.deepEqual(shown, [1, 2]);
  await assert.rejects(doWork(queries, 2), /^RunError: Cannot go on at query 3: SET applies to one connection only/);
  await assert.rejects(doWork(["SET @a = 1; DO 2", "USE elsewhere"], 2), /Cannot go on at query 2: USE/);
});

test("doWork() does not go on after the death of a thread whose connection had session settings", async () => {
  const script = new URL("./scripts/mortal.ts", import.meta.url);
  const mortal = new Int32Array(new SharedArrayBuffer(4));
  myglobals.mortal = mortal.buffer;
  for (const [first, what] of [
    ["USE elsewhere", "USE"],
    ["BEGIN", "BEGIN"],
  ] as const) {
    const queries = ["DO 1", first, "DO SLEEP(60)", "CREATE TABLE landed (id INT)"];
    const update = ({ inFlight }: Snapshot) => {
      if (inFlight().some(({ seq }) => seq === 3)) Atomics.store(mortal, 0, 1); // then the queries before it are answered
    };
    await assert.rejects(doWork(queries, 1, { script, progress: { ...silent, update } }), {
      message: `Cannot go on: a thread died, and with it what ${what} has set`,
    });
  }
  assert.deepEqual(await sql("SHOW TABLES LIKE 'landed'"), []);
  const onEnded = ({ seq }: Ended) => Atomics.store(mortal, 0, seq === 2 ? 1 : 0);
  await assert.rejects(doWork(["DO 1", "SELECT 5 INTO @x", "DO SLEEP(60)", "SELECT @x"], 1, { script, onEnded }), {
    message: "Cannot go on: query 4 reads @x, which was set on a connection that is lost",
  });
});

test("doWork() gives the query of a worker that cannot reconnect to another worker", async () => {
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

test("doWork() in batches gives queries that a worker returns to another one, even if a gate admits no more", async () => {
  const script = new URL("./scripts/once.ts", import.meta.url);
  const queries = [...Array.from({ length: 60 }, () => "DO SLEEP(0.003)"), ...Array.from({ length: 40 }, () => "DO 0")];
  let ended = 0;
  const onEnded = async () => {
    if (++ended !== 20) return;
    const running = "SELECT id FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%'";
    for (let ids: { id: number }[] = []; ids.length === 0; ) {
      ids = await sql(running);
      if (ids.length > 0) await sql(`KILL CONNECTION ${ids[0]!.id}`);
    }
  };
  const options = { threads: 2, batch: 16, script, idempotent: true, gates: [releaseAhead()], onEnded };
  const { done, skipped } = await doWork(queries, 2, options);
  assert.deepEqual([done, skipped], [100, 0]);
});

test("doWork() does not send a query above max_allowed_packet, and reports both sizes", async () => {
  const [server] = await sql<{ most: number }>("SELECT @@max_allowed_packet AS most");
  const { most } = server!;
  const text = (bytes: number) => `DO '${"x".repeat(bytes - 5)}'`;
  const values = { sql: "DO ?", values: ["x".repeat(most)] };
  const queries = [text(most - 5), text(most), "DO 1", values, "DO 2"];
  for (const options of [{}, { batch: 8 }, { ledger: "sizes" }, { idempotent: true }]) {
    const { done, retries, failures } = await doWork(queries, 1, options);
    const before = target.isMariaDB || target.version < 8 ? 1 : 3; // bytes of the packet before the text, of which MySQL 8 has two more for query attributes
    const size = (most + before).toLocaleString("en");
    const message = `The server does not take the query: it has ${size} bytes, and max_allowed_packet is ${most.toLocaleString("en")}`;
    assert.deepEqual([done, retries], [3, 0]);
    assert.deepEqual(
      failures.map((failure) => [failure.seq, failure.outcome, failure.message]),
      [
        [2, "failed", message],
        [4, "failed", message],
      ],
    );
  }
});

test("doWork() in batches reports a failure as failed, and retries only queries that it may retry", async () => {
  const missing = await doWork(["SELECT * FROM missing1", "SELECT * FROM missing2"], 1, { batch: 2 });
  assert.deepEqual([missing.failed, missing.unknown, missing.retries], [2, 0, 0]);
  await sql("BEGIN; UPDATE locked SET v = 1");
  const waits = await doWork(["UPDATE locked SET v = 3", "DO 1"], 1, { batch: 2, retries: 0 });
  await sql("ROLLBACK");
  assert.deepEqual([waits.failed, waits.done, waits.retries], [1, 1, 0]);
});

test("doWork() with a time limit interrupts only the slow query, also in batches", async () => {
  const queries = ["DO 0", "SELECT SLEEP(3600)", "INSERT INTO log (v) VALUES (20)", "SELECT SLEEP(3600)", "DO 1"];
  const { done, failures } = await doWork(queries, 1, { batch: 8, timeoutSeconds: 0.3 });
  assert.deepEqual([done, failures.map(({ seq }) => seq)], [3, [2, 4]]);
});

test("doWork() with a time limit interrupts a query whose rows are not read", async () => {
  let take = () => {};
  const taken = new Promise<void>((resolve) => {
    take = resolve;
  });
  const query = `SELECT seq, REPEAT('x', 1000) FROM ${numbers(10_000_000)}`;
  const { failures } = await doWork([query], 1, { timeoutSeconds: 0.5, onRows: () => taken, onEnded: take });
  assert.deepEqual(
    failures.map(({ outcome, code }) => [outcome, code]),
    [["failed", "ER_QUERY_INTERRUPTED"]],
  );
});

test("a thread that gets the message 'kill' interrupts a query whose rows are not read", async (t) => {
  const { port1: parent, port2 } = new MessageChannel();
  t.after(() => parent.close());
  const settings: Partial<Settings> = { counters: new SharedArrayBuffer(1024), sessionSetup: [], features: {} };
  const thread = new Thread(port2, settings as Settings);
  rows.extend?.(thread, true);
  const connection = await connect(database.db);
  thread.running[1] = connection;
  parent.once("message", () => parent.postMessage({ type: "kill" })); // after the first rows
  const listener = thread.rows.listener([{ seq: 1, rows: 0, noteRows() {} } as unknown as Job], connection);
  const query = `SELECT seq, REPEAT('x', 1000) FROM ${numbers(10_000_000)}`;
  await assert.rejects(execute(connection, query, listener), { code: "ER_QUERY_INTERRUPTED" });
  connection.destroy();
});

test("doWork() draws no bar after its end, even if the source still yields queries", async () => {
  let go = () => {};
  const later = new Promise<void>((resolve) => {
    go = resolve;
  });
  let goneOn = false;
  async function* queries() {
    yield "DO 0";
    await later;
    goneOn = true;
    yield "DO 1";
  }
  let isOver = false;
  let late = 0;
  const progress = {
    update() {
      if (isOver) late++;
    },
    log() {},
    report() {},
    stop() {
      isOver = true;
    },
  };
  const drain = new AbortController();
  const { done } = await doWork(queries(), 1, { progress, signal: drain.signal, onEnded: () => drain.abort() });
  go();
  while (!goneOn) await setImmediate();
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  assert.deepEqual([done, late], [1, 0]);
});

test("doWork() reports a unit as failed if workerDo() rejects with undefined", async () => {
  const script = new URL("./scripts/die.ts", import.meta.url);
  const { done, failures } = await doWork(["live", "nothing", "live"], 1, { script });
  assert.deepEqual(
    [done, failures.map(({ seq, message }) => [seq, message])],
    [2, [[2, "workerDo() rejected with undefined"]]],
  );
});

test("doWork() rejects with the error that a callback throws", async () => {
  const onEnded = () => {
    throw new Error("no disk");
  };
  const many = Array<string>(20_000).fill("DO 1");
  for (const options of [{ onEnded }, { progress: { ...silent, update: onEnded } }]) {
    const error = await doWork(many, 1, options).catch((error: RunError) => error);
    assert.ok(error instanceof RunError);
    assert.equal(error.message, "no disk");
    assert.ok(error.summary.skipped > 0);
  }
});

test("doWork() rejects an invalid queue or query", async () => {
  for (const [queue, message] of [
    ["DO 1", /^Cannot read the queue: .* not 'DO 1'$/],
    [undefined, /^Cannot read the queue: .* not undefined$/],
    [Promise.resolve([]), /^Cannot read the queue: .* a promise: await it$/],
    [
      ["DO 1", 42],
      /^Cannot run query 2: it must be SQL text or \{ sql, values \}, not 42; for a workerDo\(\), .* script: import.meta.url$/,
    ],
  ] as const) {
    await assert.rejects(doWork(queue as never, 1), { message });
  }
  for (const [options, message] of [
    [import.meta.url, /^Cannot take 'file:.*' for the options: write \{ \.\.\.options, script: import\.meta\.url \}$/],
    [{ script: "./mine.ts" }, /^Cannot take '\.\/mine\.ts' for script: it must be a URL, such as import\.meta\.url$/],
    [{ script: () => 1 }, /^Cannot take \[Function: script\] for script: /],
  ] as const) {
    await assert.rejects(doWork(["DO 1"], 1, options as never), { name: "TypeError", message });
  }
  for (const options of [{ timeoutSeconds: 3_000_000 }, { retries: Number.NaN }, { connectTimeoutSeconds: 0 }]) {
    await assert.rejects(doWork(["DO 1"], 1, options), RangeError);
  }
});

test("a run ends if its ledger is dropped half-way", async () => {
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

test("a ledger refuses global locks, and waits beyond the time limit for a query that another run executes", async () => {
  await assert.rejects(
    doWork(["FLUSH TABLES WITH READ LOCK"], 1, { ledger: "locks" }),
    /FLUSH TABLES WITH READ LOCK applies to one connection only, and with a ledger/,
  );
  await sql("BEGIN; INSERT INTO waits VALUES (1, 'another', NOW())").catch(() => {});
  await doWork(["DO 0"], 1, { ledger: "waits" });
  await sql("DELETE FROM waits");
  await sql("BEGIN; INSERT INTO waits (seq, hash) VALUES (1, 'x')");
  const running = doWork(["INSERT INTO log (v) VALUES (40)"], 1, {
    ledger: "waits",
    timeoutSeconds: 0.2,
    progress: silent,
  });
  const interrupted = async () =>
    Number((await sql<{ Value: string }>("SHOW GLOBAL STATUS LIKE 'Com_kill'"))[0]!.Value) >= 2;
  while (!(await interrupted()));
  await sql("ROLLBACK");
  const { done } = await running;
  assert.equal(done, 1);
});
