/** Runs with a ledger: each query runs exactly once, also after faults at the worst moment. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";
import mysql from "mysql2/promise";
import { ranges } from "../lib/features/ranges/ranges.ts";
import { doWork, type Query, RunError, type WorkOptions } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { sameInput } from "../lib/shared/hash.ts";
import { runHere } from "./command.ts";
import { deadlocks } from "./database.ts";
import { errorPacket, startProxy } from "./proxy.ts";
import { poll } from "./run.ts";
import { startServer } from "./server.ts";
import { lacks, numbers, target } from "./target.ts";
import { captureThreads, silent } from "./watch.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript-ledger-"));
const server = await startServer({ args: ["--innodb-lock-wait-timeout=1"] });
const db = { socketPath: server.socketPath, user: "root", database: "myscript" };
const connection = await mysql.createConnection({ ...db, multipleStatements: true });
const holder = await mysql.createConnection({ ...db, multipleStatements: true });
after(async () => {
  connection.destroy();
  holder.destroy();
  await server.stop();
  rmSync(directory, { recursive: true });
});
const ledger = "ledger";

beforeEach(async () => {
  // A failed test may have left a lock and a long lock wait timeout.
  await holder.query("ROLLBACK");
  await sql("SET GLOBAL innodb_lock_wait_timeout = 1");
  myglobals.config = { db };
  await sql(`DROP TABLE IF EXISTS ledger; DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v INT)
    SELECT seq AS id, 0 AS v FROM ${numbers(20)}`);
});

await sql(`CREATE PROCEDURE add_one(which INT) UPDATE t SET v = v + 1 WHERE id = which`);
await sql(
  `CREATE PROCEDURE add_twice() BEGIN UPDATE t SET v = v + 1 WHERE id = 2; UPDATE t SET v = v + 1 WHERE id = 1; END`,
);
await sql(`CREATE PROCEDURE commits() BEGIN UPDATE t SET v = v + 1 WHERE id = 1; COMMIT; END`);
await sql(`CREATE PROCEDURE begins() BEGIN UPDATE t SET v = v + 1 WHERE id = 1; COMMIT; START TRANSACTION;
  UPDATE t SET v = v + 1 WHERE id = 2; END`);

const updateOne = "UPDATE t SET v = v + 1 WHERE id = 1";
/** The end of what commits a query, and not of a look that locks. */
const ending = /(?<!FOR UPDATE;)\bCOMMIT$/;
/** The same update in each way of sending a query. */
const ways: Record<string, Query> = {
  "plain text": updateOne,
  "text with a comment": `${updateOne} -- one more`,
  values: { sql: "UPDATE t SET v = v + ? WHERE id = 1", values: [1], at: "a.sql:1" },
  CALL: "CALL add_one(1)",
};

test("doWork() with a ledger runs no more queries after one that differs from the ledger", async () => {
  await doWork(["DO 0"], 1, { ledger });
  const others = Array.from({ length: 20 }, (_, n) => `UPDATE t SET v = v + 1 WHERE id = ${n + 1}`);
  await assert.rejects(doWork(["DO 1", ...others], 1, { ledger }), RunError);
  assert.deepEqual(await sql("SELECT SUM(v) AS sum FROM t"), [{ sum: "0" }]);
});

for (const [way, query] of Object.entries(ways)) {
  test(`doWork() with a ledger runs a query once, however often doWork() is called: ${way}`, async () => {
    for (const rows of [1, 0]) {
      const summary = await doWork([query], 1, { ledger });
      assert.deepEqual([summary.done, summary.rows, summary.selfCommitted], [1, rows, 0]);
    }
    assert.equal(await vOf(1), 1);
    assert.deepEqual(await recorded(), [1]);
  });

  test(`doWork() with a ledger refuses another query under the same seq: ${way}`, async () => {
    await doWork([query], 1, { ledger });
    const changed: Query = typeof query === "string" ? `${query} ` : { ...query, sql: `${query.sql} ` };
    const error = await doWork([changed, "DO 0"], 1, { ledger }).catch((error: RunError) => error);
    assert.ok(error instanceof RunError);
    const message = `Cannot go on: query 1${way === "values" ? ", a.sql:1" : ""} is not the one in the ledger \`myscript\`.\`ledger\`: ${sameInput}`;
    assert.equal(error.message, message);
    assert.deepEqual([error.summary.skipped, error.summary.earlier.done], [2, 0]);
    // If another machine adds the row during the run, the difference is found when the query runs.
    await sql("DROP TABLE ledger");
    const meanwhile = afterwards([changed, "DO 0"], () => doWork([query], 1, { ledger }));
    const late = await doWork(meanwhile, 1, { ledger }).catch((error: RunError) => error);
    assert.ok(late instanceof RunError);
    assert.equal(late.message, message);
    assert.equal(late.summary.failed, 1);
    assert.equal(await vOf(1), 2);
  });

  test(`doWork() with a ledger runs a query after another run that had begun it is rolled back: ${way}`, async () => {
    await createEmpty();
    await holder.query("BEGIN; INSERT INTO ledger (seq, hash) VALUES (1, 'other')");
    const release = onTry(3, () => holder.query("ROLLBACK"));
    const summary = await doWork([query], 1, { ledger, retries: 0, progress: release.progress });
    await release.done();
    assert.deepEqual([summary.done, await vOf(1), await recorded()], [1, 1, [1]]);
  });

  for (const cut of ["before", "after"] as const)
    test(`doWork() with a ledger runs a query once when the connection is lost ${cut} its COMMIT: ${way}`, async (t) => {
      const proxy = await startProxy(t, db.socketPath);
      for (const options of [{}, { retries: 0 }]) {
        await sql("UPDATE t SET v = 0; DROP TABLE IF EXISTS ledger");
        const name = `${way}, ${JSON.stringify(options)}`;
        myglobals.config = { db: { ...db, socketPath: proxy.path } };
        const cuts = proxy.arm(ending, cut === "before" ? "lose" : isRecorded);
        const summary = await doWork([query], 1, { ledger, ...options });
        assert.equal(cuts(), 1);
        if (cut === "before" && way === "CALL") {
          // The server has not confirmed that the savepoint still exists, so the procedure may have committed.
          assert.deepEqual([summary.unknown, await vOf(1), await recorded()], [1, 0, []], name);
          const again = await doWork([query], 1, { ledger });
          assert.deepEqual([again.done, await vOf(1), await recorded()], [1, 1, [1]], name);
        } else if (cut === "before" && options.retries === 0) {
          const lost = way === "plain text" ? summary.unknown : summary.failed; // text and COMMIT are one packet, which may still arrive
          assert.deepEqual([lost, await vOf(1), await recorded()], [1, 0, []], name);
        } else assert.deepEqual([summary.done, await vOf(1), await recorded()], [1, 1, [1]], name);
      }
    });

  test(`doWork() with a ledger rolls the transaction back when a query waits too long for a lock: ${way}`, async () => {
    const waiting = way === "CALL" ? "CALL add_twice()" : query;
    await holder.query("BEGIN; UPDATE t SET v = v WHERE id = 1");
    const refused = await doWork([waiting], 1, { ledger, retries: 0 });
    assert.deepEqual([refused.failed, refused.failures[0]?.code], [1, "ER_LOCK_WAIT_TIMEOUT"]);
    assert.deepEqual([await recorded(), await vOf(2)], [[], 0]);
    const release = onTry(2, () => holder.query("ROLLBACK"));
    const summary = await doWork([waiting], 1, { ledger, progress: release.progress });
    await release.done();
    assert.ok(summary.retries > 0);
    assert.deepEqual([summary.done, await vOf(1), await recorded()], [1, 1, [1]]);
    assert.equal(await vOf(2), waiting === query ? 0 : 1);
  });

  test(`doWork() with a ledger rolls the transaction back when a query is interrupted at its time limit: ${way}`, async () => {
    await sql("SET GLOBAL innodb_lock_wait_timeout = 100");
    await holder.query("BEGIN; UPDATE t SET v = v WHERE id = 1");
    const options = { ledger, timeoutSeconds: 0.3 };
    const summary = await doWork([query, "UPDATE t SET v = 1 WHERE id = 3"], 1, options);
    assert.deepEqual([summary.done, summary.failed], [1, 1]);
    assert.match(summary.failures[0]!.message, /interrupted.*time limit of 0\.3 s/);
    assert.deepEqual([await vOf(1), await vOf(3), await recorded()], [0, 1, [2]]);
  });

  test(`doWork() with a ledger runs a query once when its thread dies, and a CALL is unknown: ${way}`, async (t) => {
    await sql("SET GLOBAL innodb_lock_wait_timeout = 100");
    const threads = captureThreads(t);
    await holder.query("BEGIN; UPDATE t SET v = v WHERE id = 1");
    const death = dieWaiting(threads);
    const summary = await doWork([query], 1, { ledger, progress: death.progress });
    await death.done();
    if (way === "CALL") assert.equal(summary.unknown, 1);
    else assert.deepEqual([summary.done, await vOf(1), await recorded()], [1, 1, [1]]);
  });
}

test("doWork() with a ledger knows a query's own duplicate key from the ledger's", async () => {
  await sql("DROP TABLE IF EXISTS u; CREATE TABLE u (id INT PRIMARY KEY); INSERT INTO u VALUES (1)");
  await sql("CREATE PROCEDURE insert_one() INSERT INTO u VALUES (1)");
  const queries: Query[] = [
    "INSERT INTO u VALUES (1)",
    "INSERT INTO u VALUES (1) -- alone",
    { sql: "INSERT INTO u VALUES (?)", values: [1] },
    "CALL insert_one()",
    "INSERT INTO u VALUES (2)",
  ];
  for (const time of [1, 2]) {
    const summary = await doWork(queries, 1, { ledger });
    assert.deepEqual([summary.failed, summary.done], [4, 1], `${time}`);
    assert.deepEqual(new Set(summary.failures.map(({ errno }) => errno)), new Set([1062]));
  }
  assert.deepEqual(await recorded(), [5]);
});

test("doWork() with a ledger records DDL after it ran, and counts it as an implicit commit", async () => {
  const queries = [
    "CREATE TABLE made (id INT)",
    "INSERT INTO made VALUES (1)",
    "ALTER TABLE made ADD v INT",
    "SHOW TABLES",
  ];
  const summary = await doWork(queries, 1, { ledger });
  assert.deepEqual([summary.done, summary.selfCommitted], [4, 2]);
  const again = await doWork(queries, 1, { ledger });
  assert.deepEqual([again.done, again.selfCommitted], [4, 0]);
  assert.deepEqual(await recorded(), [1, 2, 3, 4]);
  await sql("DROP TABLE made");
});

test("doWork() with a ledger counts a procedure that commits, also if it begins a new transaction", async () => {
  const summary = await doWork(["CALL commits()", "CALL begins()"], 1, { ledger });
  assert.deepEqual([summary.done, summary.selfCommitted], [2, 2]);
  assert.deepEqual([await vOf(1), await vOf(2), await recorded()], [2, 1, [1, 2]]);
});

test("doWork() with a ledger reports DDL as unknown if the connection is lost before its row is written", async (t) => {
  const proxy = await startProxy(t, db.socketPath);
  myglobals.config = { db: { ...db, socketPath: proxy.path } };
  proxy.arm(/RELEASE/, "lose");
  const queries = ["CREATE TABLE IF NOT EXISTS lost (id INT)", "INSERT INTO lost VALUES (1)"];
  const summary = await doWork(queries, 1, { ledger });
  assert.deepEqual([summary.unknown, summary.done], [1, 1]);
  assert.deepEqual(await recorded(), [2]);
  proxy.arm(/RELEASE/, "lose");
  const idempotent = await doWork(queries, 1, { ledger, idempotent: true });
  assert.deepEqual([idempotent.unknown, idempotent.done, idempotent.retries], [0, 2, 1]);
  assert.deepEqual(await recorded(), [1, 2]);
});

test("doWork() with a ledger does not retry a procedure that has committed and whose row cannot be sent", async (t) => {
  const proxy = await startProxy(t, db.socketPath);
  myglobals.config = { db: { ...db, socketPath: proxy.path } };
  proxy.arm(/CALL commits/, "leave"); // the next write fails with EPIPE, because the proxy has closed the connection
  const { unknown, retries } = await doWork(["CALL commits()"], 1, { ledger });
  assert.deepEqual([unknown, retries], [1, 0]);
  assert.deepEqual([await vOf(1), await recorded()], [1, []]);
});

test("doWork() with a ledger reports a query as unknown if it has committed and cannot be recorded", async () => {
  await sql("CREATE PROCEDURE locks() FLUSH TABLES t WITH READ LOCK");
  const queries = ["CALL locks()", updateOne];
  const summary = await doWork(queries, 1, { ledger });
  assert.deepEqual([summary.unknown, summary.done], [1, 1]);
  assert.match(summary.failures[0]!.message, /^It ran, but is not in the ledger: /);
});

test("doWork() with a ledger reports several statements as unknown if some have committed", async () => {
  await sql("CREATE TABLE emptied (id INT PRIMARY KEY)");
  for (const commits of ["TRUNCATE emptied", "COMMIT"]) {
    await sql("DROP TABLE IF EXISTS ledger");
    const query = `UPDATE t SET v = v + 1 WHERE id = 1; ${commits}; INSERT INTO missing VALUES (1)`;
    const { unknown, failures } = await doWork([query], 1, { ledger });
    assert.equal(unknown, 1, commits);
    assert.match(failures[0]!.message, /^It may have committed a part: /);
  }
});

test("doWork() with a ledger ends before a statement that begins or ends a transaction", async () => {
  for (const query of [
    "BEGIN",
    "start  transaction",
    "/* x */ COMMIT",
    "ROLLBACK",
    "SAVEPOINT a",
    "LOCK TABLES t WRITE",
    "XA START 'a'",
  ]) {
    await assert.rejects(
      doWork([query, updateOne], 1, { ledger }),
      /applies to one connection only, and with a ledger/,
    );
  }
  const queries = ["SELECT 1; COMMIT", { sql: "UPDATE t SET v = 1; COMMIT", values: [] }];
  const { done, failed, selfCommitted } = await doWork(queries, 1, { ledger });
  assert.deepEqual([done, failed, selfCommitted], [1, 1, 1]);
  assert.deepEqual([await vOf(1), (await recorded()).length], [0, 1]);
});

test("doWork() with a ledger outputs the rows of each query once, and none of a query in the ledger", async () => {
  const queries: Query[] = [
    "SELECT id FROM t WHERE id <= 2",
    { sql: "SELECT ? AS n", values: [7] },
    "CALL add_one(1)",
    "SELECT 1 AS id UNION SELECT id FROM no_such_table",
    ...(lacks("INSERT … RETURNING") ? [] : ["INSERT INTO t VALUES (21, 0) RETURNING id"]),
  ];
  const rowsOf = async () => {
    let lines = "";
    const onRows = (chunk: Uint8Array) => {
      lines += Buffer.from(chunk);
    };
    await doWork(queries, 2, { ledger, onRows });
    return lines.split("\n").filter(Boolean).sort();
  };
  assert.deepEqual(await rowsOf(), [
    '{"seq":1,"row":{"id":1}}',
    '{"seq":1,"row":{"id":2}}',
    '{"seq":2,"row":{"n":7}}',
    ...(lacks("INSERT … RETURNING") ? [] : ['{"seq":5,"row":{"id":21}}']),
  ]);
  assert.deepEqual(await rowsOf(), []);
});

test("doWork() with a ledger reports a query as failed if its rows were cut off, and outputs no row twice", async () => {
  let lines = "";
  let killed: Promise<unknown> | undefined;
  const onRows = async (chunk: Uint8Array) => {
    lines += Buffer.from(chunk);
    killed ??= (async () => {
      const [session] = await sql<{ id: number }>(
        "SELECT id FROM information_schema.processlist WHERE info LIKE '%seq_1_to%' AND id <> CONNECTION_ID()",
      );
      await sql(`KILL CONNECTION ${session!.id}`);
    })();
    await killed;
  };
  const summary = await doWork([`SELECT seq, REPEAT('x', 100) FROM ${numbers(1_000_000)}`], 1, { ledger, onRows });
  assert.deepEqual([summary.failed, await recorded()], [1, []]);
  const seqs = lines.match(/"row":\{"seq":\d+/g)!;
  assert.equal(new Set(seqs).size, seqs.length);
});

test("doWork() with a ledger retries deadlocks until every query is done once", async () => {
  const count = 400;
  const queries = Array.from({ length: count }, (_, n) => {
    const order = n % 2 ? "ASC" : "DESC";
    const slowly = n < 40 ? "SLEEP(0.002) = 0" : "TRUE"; // slow, so that queries in opposite directions meet half-way
    return `UPDATE t SET v = v + 1 WHERE id BETWEEN ${1 + (n % 3)} AND ${18 + (n % 3)} AND ${slowly} ORDER BY id ${order}`;
  });
  for (const [batch, updates] of [
    [1, count],
    [8, 2 * count],
  ] as const) {
    await sql("DROP TABLE IF EXISTS ledger");
    const before = await deadlocks(sql);
    const summary = await doWork(queries, 8, { threads: 2, retries: 1000, ledger, batch });
    assert.equal(summary.done, count);
    assert.ok((await deadlocks(sql)) > before, "there were deadlocks");
    assert.deepEqual(await sql("SELECT MIN(v) AS low, MAX(v) AS high FROM t WHERE id BETWEEN 3 AND 18"), [
      { low: updates, high: updates },
    ]);
    assert.equal((await recorded()).length, count);
  }
});

test("doWork() twice at the same time on one ledger runs every query once", async () => {
  const queries = Array.from({ length: 1000 }, (_, n): Query => {
    const id = 1 + (n % 20);
    if (n % 10 === 0) return `CALL add_one(${id})`;
    if (n % 3 === 0) return { sql: "UPDATE t SET v = v + 1 WHERE id = ?", values: [id] };
    return `UPDATE t SET v = v + 1 WHERE id = ${id}`;
  });
  const both = await Promise.all([1, 8].map((batch) => doWork(queries, 4, { ledger, batch, retries: 1000 })));
  assert.deepEqual(
    both.map(({ done }) => done),
    [1000, 1000],
  );
  assert.equal(both[0]!.rows + both[1]!.rows, 1000);
  assert.deepEqual(await sql("SELECT MIN(v) AS low, MAX(v) AS high FROM t"), [{ low: 50, high: 50 }]);
});

test("doWork() in batches with a ledger commits several queries at once, and rolls back only a failed one", async () => {
  await sql(
    "DROP TABLE IF EXISTS old; CREATE TABLE old (id INT PRIMARY KEY, v INT) ENGINE = MyISAM; INSERT INTO old VALUES (1, 0)",
  );
  const queries: Query[] = [
    ...Array.from({ length: 5 }, (_, n) => `UPDATE t SET v = v + 1 WHERE id = ${n + 1}`),
    "UPDATE old SET v = v + 1", // not transactional, so a failure of other queries must not run it again
    "INSERT INTO t VALUES (21, 0), (1, 0)",
    "UPDATE t SET v = v + 1 WHERE id = 6 /* alone */",
    { sql: "UPDATE t SET v = v + ? WHERE id = ?", values: [1, 7] },
    "UPDATE t SET v = v + 1 WHERE id > 18",
    "SELECT * FROM no_such_table",
  ];
  for (const [batch, changed] of [
    [16, 10],
    ["auto", 0],
    [3, 0],
    [1, 0],
  ] as const) {
    const before = await statusOf("Com_commit");
    const { done, failures, rows, retries, earlier } = await doWork(queries, 1, { ledger, batch });
    assert.deepEqual(
      [done, failures.map(({ seq, errno }) => [seq, errno])],
      [
        9,
        [
          [7, 1062],
          [11, 1146],
        ],
      ],
      `${batch}`,
    );
    assert.deepEqual([rows, retries, earlier.done], [changed, 0, changed === 0 ? 9 : 0], `${batch}`);
    const commits = target.isMariaDB ? 4 : 5; // a look at the start; queries 1 to 6, 8, and 9 with 10; MySQL always prepares values
    if (batch === 16) assert.equal((await statusOf("Com_commit")) - before, commits);
  }
  assert.deepEqual(await recorded(), [1, 2, 3, 4, 5, 6, 8, 9, 10]);
  assert.deepEqual(await sql("SELECT SUM(v) AS sum, COUNT(*) AS n FROM t"), [{ sum: "9", n: 20 }]);
  assert.deepEqual(await sql("SELECT v FROM old"), [{ v: 1 }]);
  await sql("DROP TABLE old");
});

test("doWork() with a ledger needs no LOCK IN SHARE MODE, which TiDB refuses", async (t) => {
  const proxy = await startProxy(t, db.socketPath);
  proxy.arm(/SHARE MODE/, errorPacket(1235, "LOCK IN SHARE MODE has only noop implementation in tidb now"), "always");
  myglobals.config = { db: { ...db, socketPath: proxy.path } };
  const queries = ["UPDATE t SET v = v + 1 WHERE id = 1", "CALL add_one(1)"];
  for (const batch of [1, 16]) assert.equal((await doWork(queries, 1, { ledger, batch })).done, 2);
  assert.equal(await vOf(1), 2);
});

for (const [batch, lost] of [
  [1, /SELECT hash .* WHERE seq = 7$/],
  [1, /ROLLBACK;START TRANSACTION;SELECT hash .* WHERE seq = 1 FOR UPDATE/],
  [8, /WHERE seq IN/],
] as const) {
  test(`doWork() with a ledger counts all queries in it, even if the connection is lost while it is read: ${lost}`, async (t) => {
    const queries = Array.from({ length: 20 }, (_, n) => `UPDATE t SET v = v + 1 WHERE id = ${n + 1}`);
    const proxy = await startProxy(t, db.socketPath);
    const hits = proxy.arm(lost, "lose");
    const meanwhile = afterwards(queries, async () => {
      myglobals.config = { db };
      await doWork(queries, 1, { ledger });
    });
    myglobals.config = { db: { ...db, socketPath: proxy.path } };
    const { done, rows, earlier } = await doWork(meanwhile, 1, { ledger, batch });
    assert.deepEqual([hits(), done, rows, earlier.done], [1, 20, 0, 20]);
  });
}

test("doWork() with a ledger does not count a query of this run as earlier after its connection was lost", async (t) => {
  for (const batch of [1, 8]) {
    await sql("DROP TABLE IF EXISTS ledger");
    const queries = Array.from({ length: 20 }, (_, n) => `UPDATE t SET v = v + 1 WHERE id = ${n + 1}`);
    const proxy = await startProxy(t, db.socketPath);
    myglobals.config = { db: { ...db, socketPath: proxy.path } };
    const isRecorded = () => poll(async () => (await recorded()).length > 0);
    const hits = proxy.arm(/INSERT.*COMMIT$/s, isRecorded);
    const { done, earlier } = await doWork(queries, 1, { ledger, batch });
    assert.deepEqual([hits(), done, earlier.done], [1, 20, 0], `${batch}`);
  }
});

test("doWork() in batches with a ledger runs the queries that are not in the ledger, and refuses a changed one", async () => {
  const queries = Array.from({ length: 20 }, (_, n) => `UPDATE t SET v = v + 1 WHERE id = ${n + 1}`);
  await doWork(queries, 1, { ledger, shard: { index: 2, count: 3 } });
  const summary = await doWork(queries, 2, { ledger, batch: 8 });
  assert.deepEqual([summary.done, summary.rows, summary.earlier.done, summary.retries], [20, 13, 7, 0]);
  const [first, ...others] = queries;
  const changed = [first!, "UPDATE t SET v = 9", ...others, "UPDATE t SET v = 8", "UPDATE t SET v = 7"];
  await assert.rejects(doWork(changed, 1, { ledger, batch: 8 }), {
    message: /^Cannot go on: query 2 is not the one in the/,
  });
  assert.deepEqual(await sql("SELECT MIN(v) AS low, MAX(v) AS high FROM t"), [{ low: 1, high: 1 }]);
});

for (const cut of ["before", "after"] as const)
  test(`doWork() in batches with a ledger runs each query once when the connection is lost ${cut} their COMMIT`, async (t) => {
    const proxy = await startProxy(t, db.socketPath);
    const queries = Array.from({ length: 20 }, (_, n) => `UPDATE t SET v = v + 1 WHERE id = ${n + 1}`);
    await createEmpty();
    myglobals.config = { db: { ...db, socketPath: proxy.path } };
    const cuts = proxy.arm(ending, cut === "before" ? "lose" : isRecorded);
    const { done, retries } = await doWork(queries, 1, { ledger, batch: 20 });
    assert.deepEqual([cuts(), done, retries], [1, 20, 20]);
    assert.deepEqual(await sql("SELECT MIN(v) AS low, MAX(v) AS high FROM t"), [{ low: 1, high: 1 }]);
  });

test("doWork() in batches with a ledger commits all queries but one that waits too long for a lock", async () => {
  await holder.query("BEGIN; UPDATE t SET v = v WHERE id = 3");
  const queries = [1, 2, 3, 4].map((id) => `UPDATE t SET v = v + 1 WHERE id = ${id}`);
  const refused = await doWork(queries, 1, { ledger, batch: 4, retries: 0 });
  assert.deepEqual([refused.done, refused.failures.map(({ seq, errno }) => [seq, errno])], [3, [[3, 1205]]]);
  assert.deepEqual(await recorded(), [1, 2, 4]);
  const release = onTry(2, () => holder.query("ROLLBACK"));
  const summary = await doWork(queries, 1, { ledger, batch: 4, progress: release.progress });
  await release.done();
  assert.deepEqual([summary.done, await vOf(1), await vOf(3)], [4, 1, 1]);
});

test("doWork() in batches with a ledger runs each query once when their thread dies", async (t) => {
  await sql("SET GLOBAL innodb_lock_wait_timeout = 100");
  const threads = captureThreads(t);
  await holder.query("BEGIN; UPDATE t SET v = v WHERE id = 15");
  const death = dieWaiting(threads);
  const queries = Array.from({ length: 20 }, (_, n) => `UPDATE t SET v = v + 1 WHERE id = ${n + 1}`);
  const summary = await doWork(queries, 1, { ledger, batch: 20, progress: death.progress });
  await death.done();
  assert.deepEqual([summary.done, (await recorded()).length], [20, 20]);
  assert.deepEqual(await sql("SELECT MIN(v) AS low, MAX(v) AS high FROM t"), [{ low: 1, high: 1 }]);
});

test("doWork() in batches needs the DELETE privilege on the ledger, and reports that", async () => {
  await doWork(["DO 0"], 1, { ledger });
  await sql("DROP USER IF EXISTS app; CREATE USER app; GRANT SELECT, INSERT, UPDATE ON myscript.ledger TO app");
  myglobals.config = { db: { socketPath: db.socketPath, user: "app", database: "myscript" } };
  await assert.rejects(doWork(["DO 0", "DO 1"], 1, { ledger, batch: 2 }), {
    message: /^Cannot use the ledger "ledger": DELETE command denied/,
  });
});

test("doWork() refuses ranges that were found with another condition, or for a ledger that is gone", async () => {
  await sql("DROP TABLE IF EXISTS ledger_ranges");
  const add = async function* (where: string) {
    for await (const range of ranges(db, "t", { size: 5, where })) {
      yield { sql: `UPDATE t SET v = v + 1 WHERE ${range.where}`, values: range.values };
    }
  };
  const run = (where: string) => doWork(add(where), 2, { ledger });
  assert.equal((await run("id <= 10")).done, 2);
  assert.equal((await run("id <= 10")).earlier.done, 2);
  await assert.rejects(run("id <= 15"), {
    message:
      "Cannot go on with the ranges of t: they were found by `PRIMARY` where id <= 10, not by `PRIMARY` where id <= 15: begin anew, with a new ledger or job log",
  });
  await sql("DROP TABLE ledger");
  await assert.rejects(run("id <= 15"), {
    message:
      'Cannot use the ledger "ledger": it is new, but `ledger_ranges` has the ranges of an earlier one: drop that table, too',
  });
  await sql("DROP TABLE ledger_ranges");
  assert.equal((await run("id <= 15")).done, 3);
  await sql("DROP TABLE ledger_ranges");
});

test("doWork() in three shards on one ledger runs every query once", async () => {
  const queries = Array.from({ length: 300 }, (_, n) => `UPDATE t SET v = v + 1 WHERE id = ${1 + (n % 20)}`);
  const shards = [1, 2, 3].map((index) => doWork(queries, 2, { ledger, shard: { index, count: 3 } }));
  for (const { done } of await Promise.all(shards)) assert.equal(done, 100);
  assert.equal((await doWork(queries, 1, { ledger })).rows, 0);
  assert.deepEqual(await sql("SELECT MIN(v) AS low, MAX(v) AS high FROM t"), [{ low: 15, high: 15 }]);
});

test("doWork() keeps the ledger in another database, under any name", async () => {
  await sql("CREATE DATABASE elsewhere; CREATE DATABASE `odd.``name`");
  const names = ["elsewhere.ledger", "`odd.``name`.`my table`", "`a.b`", "'; DROP TABLE t; -- \\"];
  for (const [index, name] of names.entries()) {
    for (const done of [1, 2]) {
      const summary = await doWork([`UPDATE t SET v = v + 1 WHERE id = ${index + 1}`], 1, { ledger: name });
      assert.equal(summary.done, 1, `${name}, ${done}`);
    }
    assert.equal(await vOf(index + 1), 1);
  }
  assert.deepEqual(
    (
      await sql<{ n: string }>(
        "SELECT CONCAT(table_schema, '/', table_name) AS n FROM information_schema.columns WHERE column_name = 'done_at' ORDER BY 1",
      )
    ).map(({ n }) => n),
    ["elsewhere/ledger", "myscript/'; DROP TABLE t; -- \\", "myscript/a.b", "odd.`name/my table"],
  );
  await sql("DROP DATABASE elsewhere; DROP DATABASE `odd.``name`; DROP TABLE `a.b`, `'; DROP TABLE t; -- \\`");
});

test("doWork() refuses an unusable ledger before it runs any query", async () => {
  await sql("DROP TABLE IF EXISTS other; CREATE TABLE other (id INT); CREATE OR REPLACE VIEW v AS SELECT 1 AS seq");
  const columns = "seq BIGINT UNSIGNED PRIMARY KEY, hash CHAR(16), done_at TIMESTAMP";
  await sql(`DROP TABLE IF EXISTS isam; CREATE TABLE isam (${columns}) ENGINE = MyISAM`);
  const cases: [ledger: string, message: RegExp][] = [
    ["other", /^Cannot use the ledger "other": it has the columns "id int" instead of "seq bigint PRI, hash char, /],
    ["v", /it has the columns "seq int" instead of/],
    ["isam", /^Cannot use the ledger "isam": its engine MyISAM has no transactions$/],
    ["a.b.c", /^Cannot use the ledger "a.b.c": it must be TABLE or DATABASE.TABLE$/],
    ["", /it must be TABLE or DATABASE.TABLE/],
    ["nowhere.ledger", /Unknown database 'nowhere'/],
  ];
  for (const [name, message] of cases) {
    const error = await doWork([updateOne], 1, { ledger: name }).catch((error: unknown) => error);
    assert.ok(error instanceof RunError, name);
    assert.match(error.message, message);
    assert.equal(error.summary.skipped, 1);
  }
  myglobals.config = { db: { socketPath: db.socketPath, user: "root" } };
  await assert.rejects(doWork(["DO 0"], 1, { ledger }), { message: /name its database, too: DATABASE.TABLE$/ });
  assert.equal(await vOf(1), 0);
  await sql("DROP TABLE other, isam; DROP VIEW v");
});

test("doWork() refuses a ledger with a script's own workerDo() or workerInit(), and creates no table", async () => {
  const message =
    "Cannot use a ledger with a workerDo() or workerInit() of the script's own: its work may be on another connection, or commit by itself, where the ledger's transaction does not reach";
  for (const name of ["files", "once"]) {
    const script = new URL(`./scripts/${name}.ts`, import.meta.url);
    await assert.rejects(doWork([{ name: "a" }], 2, { ledger: "none", script }), { name: "TypeError", message });
  }
  assert.deepEqual(await sql("SHOW TABLES LIKE 'none'"), []);
});

test("doWork() needs no CREATE privilege if the ledger exists", async () => {
  await doWork(["DO 0"], 1, { ledger });
  await sql("DROP USER IF EXISTS app; CREATE USER app; GRANT SELECT, INSERT, UPDATE ON myscript.ledger TO app");
  myglobals.config = { db: { socketPath: db.socketPath, user: "app", database: "myscript" } };
  const summary = await doWork(["DO 0", "DO 1"], 1, { ledger });
  assert.equal(summary.done, 2);
  assert.deepEqual(await recorded(), [1, 2]);
});

test("doWork() with a ledger warns of tables without transactions", async () => {
  await sql(
    "DROP TABLE IF EXISTS old; CREATE TABLE old (id INT) ENGINE = MyISAM; DROP TABLE IF EXISTS fast; CREATE TABLE fast (id INT) ENGINE = MEMORY",
  );
  const lines: string[] = [];
  await doWork(["DO 0"], 1, { ledger, progress: { ...silent, log: (line) => void lines.push(line) } });
  assert.deepEqual(lines, [
    "warning: changes to tables without transactions may be made twice: fast (MEMORY), old (MyISAM)",
    "the ledger `myscript`.`ledger` is new",
  ]);
  await sql("DROP TABLE old, fast");
});

test("--ledger with --dry-run prints what the ledger does not have, and changes nothing", async () => {
  const args = ["-S", db.socketPath, "-u", "root", "-D", "myscript", "--ledger", ledger, "--dry-run"];
  const dry = (queries: AsyncIterable<Query> | readonly Query[]) => runHere(args, { queries });
  const isEmpty = async () => assert.deepEqual(await sql("SHOW TABLES LIKE 'ledger%'"), []);
  assert.deepEqual(await dry(["DO 1", "DO 2"]), { status: 0, stdout: "1\tDO 1\n2\tDO 2\n", stderr: "" });
  await isEmpty();
  await doWork(["DO 1", "DO 2", "DO 3"], 1, { ledger });
  const none = { status: 0, stdout: "", stderr: "nothing is left to run\n" };
  assert.deepEqual(await dry(["DO 1", "DO 2", "DO 3"]), none);
  await sql("DELETE FROM ledger WHERE seq = 2");
  assert.deepEqual(await dry(["DO 1", "DO 7", "DO 3", "DO 4"]), {
    status: 0,
    stdout: "2\tDO 7\n4\tDO 4\n",
    stderr: "",
  });
  const table = "the ledger `myscript`.`ledger`";
  for (const [queries, message] of [
    [["DO 1", "DO 2", "DO 7"], `Cannot go on: query 3 is not the one in ${table}: ${sameInput}`],
    [["DO 1", "DO 2"], `The input has changed: it ends with query 2, and ${table} has query 3: ${sameInput}`],
  ] as const) {
    const { status, stderr } = await dry(queries);
    assert.deepEqual([status, stderr], [2, `myscript: ${message}\n`]);
  }
  assert.deepEqual(await recorded(), [1, 3]);
  const nowhere = await runHere(["--ledger", ledger, "--dry-run", "-"], { input: "DO 1" });
  assert.match(nowhere.stderr, /^myscript: Name a server for these queries: /);
  myglobals.config = { db: {} };
  await assert.rejects(doWork(["DO 1"], 1, { ledger, dryRun() {} }), { message: /myglobals\.config\.db is not set/ });
  myglobals.config = { db };

  await sql("DROP TABLE ledger");
  await doWork([{ sql: "DO 1", key: "b" }], 1, { ledger });
  const keyed = ["a", "b"].map((key) => ({ sql: "DO 1", key }));
  assert.equal((await dry(keyed)).stdout, "1\tDO 1\n");

  await sql("DROP TABLE ledger");
  async function* updates(seconds = 0): AsyncGenerator<Query> {
    for await (const { where, values } of ranges(db, "t", { size: 1, seconds }))
      yield { sql: `UPDATE t SET v = v + 1 WHERE ${where}`, values };
  }
  // With `seconds`, a run would wait for the first ranges to end.
  const lines = (await dry(updates(60))).stdout.split("\n");
  assert.equal(lines.length, 21);
  await isEmpty();
  await doWork(updates(), 1, { ledger });
  await sql("DELETE FROM ledger WHERE seq = 7; DELETE FROM t WHERE id < 5");
  assert.deepEqual(await dry(updates()), { status: 0, stdout: `${lines[6]}\n`, stderr: "" });
  await sql("DROP TABLE ledger, ledger_ranges");
});

test("--ledger with --joblog finds a query in the ledger whose outcome the log lacks", async () => {
  const file = join(directory, "queries.sql");
  const joblog = join(directory, "joblog");
  writeFileSync(file, `${updateOne};\n${updateOne};\n`);
  writeFileSync(
    joblog,
    "seq\thash\toutcome\tstart\tseconds\ttries\trows\tcode\tmessage\tquery\n" +
      "2\t\treleased\t2026-01-01T00:00:00.000Z\t0.000000\t0\t0\t\t\t\n",
  );
  await doWork([updateOne], 1, { ledger });
  const args = ["-S", db.socketPath, "-u", "root", "-D", "myscript", "--ledger", ledger];
  const { status, stderr } = await runHere([...args, "--joblog", joblog, "--resume", file]);
  assert.equal(status, 0, stderr);
  assert.match(stderr, /^2 of 2 queries done/m);
  assert.equal(await vOf(1), 2);
});

async function sql<Row = Record<string, unknown>>(text: string): Promise<Row[]> {
  return (await connection.query(text))[0] as Row[];
}

async function vOf(id: number): Promise<number> {
  return (await sql<{ v: number }>(`SELECT v FROM t WHERE id = ${id}`))[0]!.v;
}

/** Yields the queries after an action. Workers find the rows that the action adds to the ledger. */
async function* afterwards(queries: readonly Query[], action: () => Promise<unknown>) {
  await action();
  yield* queries;
}

/** Creates a ledger without rows. */
async function createEmpty(): Promise<void> {
  await doWork(["DO 0"], 1, { ledger });
  await sql("DELETE FROM ledger");
}

/** Returns the seqs in the ledger. */
async function recorded(): Promise<number[]> {
  return (await sql<{ seq: number }>("SELECT seq FROM ledger ORDER BY seq")).map(({ seq }) => seq);
}

async function statusOf(name: string): Promise<number> {
  return Number((await sql<{ Value: string }>(`SHOW GLOBAL STATUS LIKE '${name}'`))[0]!.Value);
}

function isRecorded(): Promise<void> {
  return poll(async () => (await recorded()).length > 0);
}

/** True if a query waits for the test's lock. The server does not refresh innodb_trx while it is read more than ten times a second. */
async function waiting(): Promise<boolean> {
  return (await statusOf("Innodb_row_lock_current_waits")) > 0;
}

/** Terminates the newest thread when its query waits for the test's lock, and releases the lock. */
function dieWaiting(threads: ReturnType<typeof captureThreads>) {
  let dying: Promise<unknown> | undefined;
  const update = async () => {
    if (dying || !(await waiting())) return;
    dying ??= Promise.all([[...threads].at(-1)!.terminate(), holder.query("ROLLBACK")]);
  };
  return { progress: { ...silent, update }, done: () => dying };
}

/** Calls `then` when a query begins its try number `count`. */
function onTry(count: number, then: () => Promise<unknown>) {
  let doing: Promise<unknown> | undefined;
  const update: NonNullable<WorkOptions["progress"]>["update"] = ({ inFlight }) => {
    if (inFlight().some(({ tries }) => tries >= count)) doing ??= then();
  };
  return { progress: { ...silent, update }, done: () => doing };
}

test("doWork() with a ledger ends before a query that reads the ROW_COUNT() of the query before it", async () => {
  const refused: [read: string, query: Query][] = [
    ["ROW_COUNT()", "INSERT INTO t SELECT 100, ROW_COUNT()"],
    ["ROW_COUNT()", { sql: "INSERT INTO t VALUES (?, row_count ())", values: [101] }],
    ["ROW_COUNT()", "/* how many */ INSERT INTO t VALUES (102, 1 + ROW_COUNT())"],
    ["warnings", "DO @@warning_count"],
    ["FOUND_ROWS()", "SELECT FOUND_ROWS()"],
    ["warnings", "SHOW COUNT(*) WARNINGS"],
    ["warnings", "show errors"],
    ["warnings", "GET DIAGNOSTICS @n = NUMBER"],
  ];
  for (const [read, query] of refused) {
    await sql("DROP TABLE IF EXISTS ledger");
    await assert.rejects(doWork(["DO 1", query], 1, { ledger }), {
      message: `Cannot go on at query 2: it reads ${read}, which query 1 has left for one connection, and with a ledger each query must stand by itself`,
    });
  }
  const taken: Query[] = [
    "DO 'ROW_COUNT()', 1 /* ROW_COUNT() */ -- ROW_COUNT()",
    { sql: "UPDATE t SET v = v + 1; INSERT INTO t VALUES (103, ROW_COUNT())" },
    "CREATE PROCEDURE counts() BEGIN UPDATE t SET v = v + 1; INSERT INTO t VALUES (104, ROW_COUNT()); END",
    "CALL counts()",
  ];
  for (const batch of [1, 16]) {
    await sql("DROP TABLE IF EXISTS ledger; DROP PROCEDURE IF EXISTS counts; DELETE FROM t WHERE id > 100");
    assert.equal((await doWork(taken, 1, { ledger, batch })).done, taken.length);
    assert.deepEqual(await sql("SELECT id, v FROM t WHERE id > 100"), [
      { id: 103, v: 21 }, // 20 rows, and one more after counts()
      { id: 104, v: 21 },
    ]);
  }
});
