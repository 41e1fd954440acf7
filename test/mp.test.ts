import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { doWork, RunError } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { status, useDatabase } from "./database.ts";
import { poll } from "./run.ts";
import type { Unit } from "./scripts/files.ts";

const database = await useDatabase(["--max-allowed-packet=64M"]);
const { sql } = database;
const scriptAt = (name: string) => new URL(`./scripts/${name}.ts`, import.meta.url);

test("doWork() runs every query once", async () => {
  await sql("CREATE TABLE once (id INT PRIMARY KEY)");
  const count = 5000; // more than one segment
  const queries = Array.from({ length: count }, (_, id) => `INSERT INTO once VALUES (${id})`);
  const summary = await doWork(queries);
  const { total, done, failed, unknown, skipped, retries, rows, workers, failures } = summary;
  assert.deepEqual(
    { total, done, failed, unknown, skipped, retries, rows, workers, failures },
    {
      total: count,
      done: count,
      failed: 0,
      unknown: 0,
      skipped: 0,
      retries: 0,
      rows: count,
      workers: 4,
      failures: [],
    },
  );
  assert.deepEqual(await sql("SELECT COUNT(*) AS n, SUM(id) AS sum FROM once"), [{ n: count, sum: "12497500" }]);
});

test("doWork() runs { sql, values } as a prepared statement, and text with a ? as it is", async () => {
  await sql("CREATE TABLE placed (a BIGINT, b VARCHAR(20), c DATETIME, d VARBINARY(9))");
  const summary = await doWork(
    [
      { sql: "INSERT INTO placed VALUES (?, ?, ?, ?)", values: [7, "it's", null, Buffer.from([0, 255])] },
      "INSERT INTO placed (b) VALUES ('really?')",
      { sql: "INSERT INTO placed (b) VALUES ('no values')" },
    ],
    1,
  );
  assert.equal(summary.done, 3);
  assert.deepEqual(await sql("SELECT a, b, HEX(d) AS d FROM placed"), [
    { a: 7, b: "it's", d: "00FF" },
    { a: null, b: "really?", d: null },
    { a: null, b: "no values", d: null },
  ]);
  assert.ok((await status(database, "Com_stmt_prepare")) >= 1);
});

test("doWork() counts a query that fails, names it by seq, and runs the others", async () => {
  const summary = await doWork(
    ["DO 1", "SELECT * FROM no_such_table", "DO 2", { sql: "DO ?", values: [undefined] }],
    2,
  );
  assert.deepEqual([summary.total, summary.done, summary.failed], [4, 2, 2]);
  assert.deepEqual(summary.failures, [
    {
      seq: 2,
      outcome: "failed",
      sql: "SELECT * FROM no_such_table",
      code: "ER_NO_SUCH_TABLE",
      errno: 1146,
      message: "Table 'myscript.no_such_table' doesn't exist",
    },
    {
      seq: 4,
      outcome: "failed",
      sql: "DO ?",
      values: ["undefined"],
      code: "TypeError",
      message: "Value 1 of 1 is undefined: give null",
    },
  ]);
});

test("doWork() with one worker runs strictly in input order", async () => {
  await sql("CREATE TABLE ordered (at INT PRIMARY KEY AUTO_INCREMENT, seq INT) ENGINE = MEMORY");
  const count = 4500; // the last segment but one is full
  async function* queries() {
    for (let seq = 1; seq <= count; seq++) {
      if (seq === 100 || seq === 200) await sleep(20); // a segment ends when the source pauses
      yield `INSERT INTO ordered (seq) VALUES (${seq})`;
    }
  }
  assert.equal((await doWork(queries(), 1)).done, count);
  assert.deepEqual(await sql("SELECT COUNT(*) AS n, SUM(at <> seq) AS displaced FROM ordered"), [
    { n: count, displaced: "0" },
  ]);
});

test("doWork() runs other queries while a slow one runs", async () => {
  await sql("CREATE TABLE finished (at INT PRIMARY KEY AUTO_INCREMENT, seq INT)");
  const queries = Array.from({ length: 401 }, (_, seq) => `INSERT INTO finished (seq) VALUES (${seq})`);
  queries[0] = "INSERT INTO finished (seq) SELECT 0 FROM (SELECT SLEEP(2)) AS slow";
  assert.equal((await doWork(queries, 4)).done, 401);
  const [last] = await sql<{ seq: number }>("SELECT seq FROM finished ORDER BY at DESC LIMIT 1");
  assert.equal(last?.seq, 0);
});

test("doWork() gives each of 64 workers on 2 threads a connection of its own", async () => {
  await sql("CREATE TABLE connections (id INT)");
  myglobals.together = 64;
  myglobals.arrived = new SharedArrayBuffer(4);
  const summary = await doWork(Array(128).fill("unit"), 64, { threads: 2, script: scriptAt("together") });
  assert.deepEqual([summary.done, summary.workers, summary.threads], [128, 64, 2]);
  assert.deepEqual(await sql("SELECT COUNT(DISTINCT id) AS n FROM connections"), [{ n: 64 }]);
});

test("doWork() with a script runs any unit of work with the script's own connection", async () => {
  await sql("CREATE TABLE files (name VARCHAR(20), tags VARCHAR(20))");
  const units: Unit[] = [
    { name: "a.txt", tags: new Set(["x", "y"]) },
    { name: "bad", tags: new Set() },
  ];
  const summary = await doWork(units, 2, { script: scriptAt("files") });
  assert.equal(summary.done, 1);
  assert.deepEqual(summary.failures, [
    {
      seq: 2,
      outcome: "failed",
      sql: "{ name: 'bad', tags: Set(0) {} }",
      unit: { name: "bad", tags: "Set(0) {}" },
      code: "TypeError",
      message: "bad name (test/scripts/files.ts:15)",
    },
  ]);
  assert.deepEqual(await sql("SELECT * FROM files"), [{ name: "a.txt", tags: "x,y" }]);
});

test("doWork() starts a slow source's queries as they arrive", async () => {
  await sql("CREATE TABLE arrived (id INT)");
  async function* queries() {
    for (let id = 1; id <= 3; id++) {
      yield `INSERT INTO arrived VALUES (${id})`;
      // The source yields the next query only after its last one has run.
      while ((await sql<{ n: number }>("SELECT COUNT(*) AS n FROM arrived"))[0]?.n !== id) await sleep(5);
    }
  }
  assert.equal((await doWork(queries())).done, 3);
});

test("doWork() starts the queries of a source that keeps the thread busy", async () => {
  myglobals.seen = new SharedArrayBuffer(8);
  myglobals.config.step = 1;
  const seen = new Int32Array(myglobals.seen as SharedArrayBuffer);
  const deadline = performance.now() + 60_000;
  function* units() {
    for (let id = 1; id <= 5; id++) {
      const until = performance.now() + 20;
      // The source blocks the thread, and yields the next query only after the last but one has run.
      while (performance.now() < until || Atomics.load(seen, 1) < id - 2) {
        if (performance.now() > deadline) throw new Error(`query ${id - 2} was not started`);
      }
      yield id;
    }
  }
  assert.equal((await doWork(units(), 4, { script: scriptAt("globals") })).done, 5);
});

test("doWork() sends messages per segment, not per query", async (t) => {
  let messages = 0;
  const { postMessage, emit } = Worker.prototype;
  t.mock.method(Worker.prototype, "postMessage", function (this: Worker, ...values: Parameters<typeof postMessage>) {
    messages++;
    return postMessage.apply(this, values);
  });
  t.mock.method(Worker.prototype, "emit", function (this: Worker, ...values: Parameters<typeof emit>) {
    if (values[0] === "message") messages++;
    return emit.apply(this, values);
  });
  const count = 8200; // three segments
  assert.equal((await doWork(Array(count).fill("DO 0"), 4, { threads: 2 })).done, count);
  const segments = Math.ceil(count / 4096);
  // For a segment, each of 2 threads gets a message and sends one, and each of 4 workers may report once that it is idle.
  assert.ok(messages <= segments * (2 + 2 + 4) + 4 + 2 + 4, `${messages} messages`);
});

test("doWork() runs a query of 20 MB", async () => {
  const summary = await doWork([`SELECT LENGTH('${"x".repeat(20 << 20)}')`, "DO 0"]);
  assert.deepEqual([summary.done, summary.failures], [2, []]);
});

test("doWork() runs with fewer queries than workers, and with none", async () => {
  const one = await doWork(new Set(["DO 0"]), 8);
  assert.deepEqual([one.total, one.done], [1, 1]);
  const none = await doWork([]);
  assert.deepEqual([none.total, none.done, none.latencyMs.max], [0, 0, 0]);
});

test("doWork() rejects an unknown option", async () => {
  await assert.rejects(doWork(["DO 0"], 1, { leger: "a" } as object), {
    name: "TypeError",
    message: "Cannot take the option leger: there is none of this name",
  });
});

test("doWork() rejects an invalid number of workers or threads", async () => {
  for (const workers of [0, 1.5, -1, Number.NaN, 1e11]) {
    await assert.rejects(doWork(["DO 0"], workers), {
      name: "RangeError",
      message: `Cannot start ${workers} workers: the number of workers must be an integer from 1 to 100000`,
    });
  }
  await assert.rejects(doWork(["DO 0"], 2, { threads: 0 }), RangeError);
  await assert.rejects(doWork(["DO 0"], 2, { threads: 3 }), {
    message: "Cannot start 3 threads for 2 workers: at most one thread a worker",
  });
});

test("doWork() runs the queries that the source yielded before it threw, and rejects with its error", async () => {
  for (const [count, delay] of [
    [5000, false],
    [1000, true],
    [1, false],
  ] as const) {
    await sql("DROP TABLE IF EXISTS halfway; CREATE TABLE halfway (id INT)");
    async function* queries() {
      for (let id = 1; id <= count; id++) yield `INSERT INTO halfway VALUES (${id})`;
      if (delay)
        await poll(async () => (await sql<{ n: number }>("SELECT COUNT(*) AS n FROM halfway"))[0]!.n === count);
      throw new Error("the list is torn");
    }
    const error = await doWork(queries()).catch((error) => error);
    assert.ok(error instanceof RunError);
    assert.equal(error.message, "the list is torn");
    const { total, done, reason } = error.summary;
    assert.deepEqual([total, done, reason], [count, count, "the list is torn; not all queries were read"]);
    assert.deepEqual(await sql("SELECT COUNT(*) AS n FROM halfway"), [{ n: count }]);
  }
  const none = {
    [Symbol.iterator](): Iterator<string> {
      throw new Error("there is no list");
    },
  };
  const error = await doWork(none).catch((error) => error);
  assert.deepEqual([error.message, error.summary.total], ["there is no list", 0]);
});

test("doWork() rejects a unit that cannot be copied, with its seq", async () => {
  const error = await doWork(["DO 0", { sql: "DO 1", tasks: [() => 1] } as never]).catch((error) => error);
  assert.equal(error.message, "Cannot send query 2 to a worker: query.tasks[0] is a function");
});

test("doWork() rejects an invalid script, and one that starts runs in its own worker threads", async () => {
  const { db } = myglobals.config;
  const unguarded =
    'Cannot call doWork() in a worker thread, which imports the script, too: write "if (isMainThread)" before it';
  const unset = "Cannot connect: myglobals.config.db is not set; before doWork(), write myglobals.config = { db }";
  const cases: [config: typeof myglobals.config, script: URL | undefined, message: string | RegExp][] = [
    [{ db, calls: "doWork" }, scriptAt("unguarded"), unguarded],
    [
      { db },
      new URL("../lib/shared/hash.ts", import.meta.url),
      "Cannot use the script hash.ts: it exports neither workerDo() nor workerInit()",
    ],
    [{ db }, scriptAt("nowhere"), /^Cannot load the script nowhere\.ts: /],
    [{ db: {} }, scriptAt("together"), unset],
    [{ db: {} }, undefined, unset],
  ];
  try {
    for (const [config, script, message] of cases) {
      myglobals.config = config;
      const error = await doWork(["DO 0", "DO 1"], 2, { script }).catch((error) => error);
      if (typeof message === "string") assert.equal(error.message, message);
      else assert.match(error.message, message);
      if (script) assert.deepEqual([error.summary.workers, error.summary.skipped, error.summary.total], [0, 2, 2]);
    }
  } finally {
    myglobals.config = { db };
  }
  assert.deepEqual(await sql("SHOW TABLES LIKE 'unguarded'"), []);
});

test("runCommand() does nothing in a worker thread of a run, which imports the script, too", async () => {
  myglobals.config = { db: myglobals.config.db, calls: "runCommand" };
  const { done } = await doWork(["DO 0", "DO 1"], 2, { script: scriptAt("unguarded") });
  assert.equal(done, 2);
  assert.deepEqual(await sql("SHOW TABLES LIKE 'unguarded'"), []);
});

test("doWork() rejects with the server's message when no worker gets a connection", async () => {
  const good = myglobals.config.db;
  myglobals.config.db = { ...good, database: "no_such_database" };
  const error = await doWork(["DO 0", "DO 1"]).catch((error) => error);
  myglobals.config.db = good;
  assert.ok(error instanceof RunError);
  assert.equal(error.message, "Unknown database 'no_such_database'");
  assert.deepEqual([error.summary.workers, error.summary.skipped, error.summary.total], [0, 2, 2]);
});
