import assert from "node:assert/strict";
import { test } from "node:test";
import { doWork, type Ended } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { useDatabase } from "./database.ts";
import { errorPacket, type Fate, startProxy } from "./proxy.ts";
import { numbers } from "./target.ts";

const database = await useDatabase();
const { sql } = database;

test("doWork() in batches runs every query once", async () => {
  await sql(
    `DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(1000)}`,
  );
  const queries = Array.from({ length: 1000 }, (_, n) => `UPDATE t SET v = v + 1 WHERE id = ${n + 1}`);
  const ended: Ended[] = [];
  const summary = await doWork(queries, 2, { batch: 16, onEnded: (query) => ended.push(query) });
  assert.deepEqual([summary.done, summary.rows, summary.retries], [1000, 1000, 0]);
  assert.ok(ended.every(({ tries, rows }) => tries === 1 && rows === 1));
  assert.deepEqual(await sql("SELECT MIN(v) AS low, MAX(v) AS high FROM t"), [{ low: 1, high: 1 }]);
});

test("doWork() in batches gives each query the same outcome, error and rows as without batches", async () => {
  const queries = [
    "SELECT 1",
    "SELECT 1 UNION SELECT 2",
    "SELECT * FROM no_such_table",
    "DO 0",
    "no sql at all",
    "SELECT 'a",
    "SELECT ' AS b",
    "SELECT 1; SELECT 2",
    "SELECT 1;",
    "SELECT ';' AS semicolon",
    "SELECT 'back\\\\slash'",
    "SELECT 1 -- a comment",
    "SELECT 1 /* an open comment",
    "INSERT INTO u VALUES (1)",
    "INSERT INTO u VALUES (1)",
    "INSERT INTO u VALUES (2), (3)",
    "UPDATE u SET id = id + 10",
    { sql: "SELECT id FROM u WHERE id > ?", values: [11] },
    { sql: "SELECT id FROM u", at: "file.sql:7" },
    "DELETE FROM u",
    "SELECT SLEEP(0)",
    "SET @x = 1",
    "SELECT 3; DELETE FROM no_such_table; SELECT 4",
    "DO 1",
  ];
  const run = async (batch: number | "auto") => {
    await sql("DROP TABLE IF EXISTS u; CREATE TABLE u (id INT PRIMARY KEY)");
    const ended: unknown[] = [];
    let lines = "";
    const summary = await doWork(queries, 1, {
      batch,
      onEnded: ({ seq, outcome, rows, failure }) => ended.push({ seq, outcome, rows, failure }),
      onRows: (chunk) => {
        lines += Buffer.from(chunk);
      },
    });
    const bySeq = (a: unknown, b: unknown) => (a as Ended).seq - (b as Ended).seq;
    return { ended: ended.sort(bySeq), lines, done: summary.done };
  };
  const alone = await run(1);
  for (const batch of [2, 3, 16, 100, "auto"] as const) assert.deepEqual(await run(batch), alone, `batch ${batch}`);
  assert.equal(alone.done, 17);
});

test("doWork() in batches interrupts one query at the time limit and runs the others of the batch", async () => {
  const queries = ["DO 0", "DO 1", "SELECT SLEEP(3600)", "DO 2", "SELECT SLEEP(3600)", "DO 3"];
  const summary = await doWork(queries, 1, { batch: 6, timeoutSeconds: 0.3 });
  assert.deepEqual([summary.done, summary.failed], [4, 2]);
  assert.deepEqual(
    summary.failures.map(({ seq, errno }) => [seq, errno]),
    [
      [3, 1317],
      [5, 1317],
    ],
  );
});

test("doWork() in batches leaves exactly the queries without an answer unknown when the connection is lost", async () => {
  await sql("DROP TABLE IF EXISTS w; CREATE TABLE w (id INT PRIMARY KEY)");
  const queries = [
    "INSERT INTO w VALUES (1)",
    "INSERT INTO w VALUES (2)",
    "INSERT INTO w SELECT 3 FROM (SELECT SLEEP(3600)) AS slow",
    "INSERT INTO w VALUES (4)",
  ];
  let killed: Promise<unknown> | undefined;
  const update = async () => {
    const [slow] = await sql<{ id: number }>(
      "SELECT id FROM information_schema.processlist WHERE info LIKE 'INSERT INTO w SELECT 3%' AND state = 'User sleep'",
    ).catch(() => []);
    if (slow) killed ??= sql(`KILL CONNECTION ${slow.id}`);
  };
  const progress = { update: () => void update(), log: () => {}, report: () => {}, stop: () => {} };
  const summary = await doWork(queries, 1, { batch: 4, progress });
  await killed;
  assert.deepEqual([summary.done, summary.unknown], [2, 2]);
  assert.deepEqual(
    summary.failures.map(({ seq }) => seq),
    [3, 4],
  );
  assert.deepEqual(await sql("SELECT id FROM w"), [{ id: 1 }, { id: 2 }]);
});

test("doWork() in batches retries a query that waits too long for a lock, and not those before it", async () => {
  await sql(
    `DROP TABLE IF EXISTS l; CREATE TABLE l (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(10)}`,
  );
  await sql("SET GLOBAL innodb_lock_wait_timeout = 1; BEGIN; UPDATE l SET v = 0 WHERE id = 5");
  let released: Promise<unknown> | undefined;
  const update = ({ inFlight }: { inFlight: () => { tries: number }[] }) => {
    if (inFlight().some(({ tries }) => tries > 1)) released ??= sql("COMMIT");
  };
  const progress = { update, log: () => {}, report: () => {}, stop: () => {} };
  const queries = Array.from({ length: 10 }, (_, n) => `UPDATE l SET v = v + 1 WHERE id = ${n + 1}`);
  const summary = await doWork(queries, 1, { batch: 10, progress });
  await released;
  assert.equal(summary.done, 10);
  assert.ok(summary.retries >= 1);
  assert.deepEqual(await sql("SELECT MIN(v) AS low, MAX(v) AS high FROM l"), [{ low: 1, high: 1 }]);
});

test("doWork() in batches outputs no row of a query twice", async () => {
  await sql(`DROP TABLE IF EXISTS m; CREATE TABLE m (id INT PRIMARY KEY) SELECT seq AS id FROM ${numbers(20_000)}`);
  await sql("SET GLOBAL innodb_lock_wait_timeout = 1; BEGIN; UPDATE m SET id = id WHERE id = 20000");
  for (const batch of [1, 2]) {
    let lines = "";
    const onRows = (chunk: Uint8Array) => {
      lines += Buffer.from(chunk);
    };
    const summary = await doWork(["SELECT 1", "SELECT id FROM m FOR UPDATE"], 1, { batch, onRows });
    assert.deepEqual([summary.done, summary.failed, summary.retries], [1, 1, 0]);
    assert.equal(lines.split("\n").length - 1, new Set(lines.trimEnd().split("\n")).size, `batch ${batch}`);
  }
  await sql("COMMIT");
});

for (const ledger of [undefined, "lost_ledger"]) {
  const way = ledger ? "and a ledger" : "and no ledger";
  test(`doWork() in batches treats an ERR packet with a client error number as a lost connection, ${way}`, async (t) => {
    const proxy = await startProxy(t, database.db.socketPath);
    const lost = errorPacket(2013, "Lost connection to server during query");
    const options = { batch: 16, ...(ledger && { ledger }) };
    const queries = Array.from({ length: 17 }, (_, n) => `INSERT INTO lost VALUES (${n + 1})`);
    const ids = async () => (await sql<{ id: number }>("SELECT id FROM lost")).map(({ id }) => id);
    const run = async (fate: Fate) => {
      await sql("DROP TABLE IF EXISTS lost, lost_ledger; CREATE TABLE lost (id INT)");
      myglobals.config = { db: { ...database.db, socketPath: proxy.path } };
      const hits = proxy.arm(/INSERT INTO lost /, fate);
      const { done, unknown, failed } = await doWork(queries, 1, options);
      assert.deepEqual([hits(), failed], [1, 0]);
      return [done, unknown, (await ids()).length];
    };
    const runs = async () => {
      while ((await ids()).length < 16);
      return lost;
    };
    assert.deepEqual(await run(runs), ledger ? [17, 0, 17] : [1, 16, 17]);
    assert.deepEqual(await run(lost), ledger ? [17, 0, 17] : [1, 16, 1]);
  });

  test(`doWork() in batches runs each query alone if the server parses the whole text first, ${way}`, async (t) => {
    const proxy = await startProxy(t, database.db.socketPath);
    await sql("DROP TABLE IF EXISTS parsed, lost_ledger; CREATE TABLE parsed (id INT)");
    myglobals.config = { db: { ...database.db, socketPath: proxy.path } };
    const refused = proxy.arm(/;\n|SAVEPOINT/, errorPacket(1064, "You have an error in your SQL syntax"), "always");
    const queries = Array.from({ length: 20 }, (_, n) => `INSERT INTO parsed VALUES (${n})`);
    queries[7] = "SELECT FROM WHERE";
    const { done, failures } = await doWork(queries, 1, { batch: 32, ...(ledger && { ledger }) });
    assert.deepEqual([done, failures.map(({ seq }) => seq), refused()], [19, [8], 1]);
    assert.equal((await sql("SELECT * FROM parsed")).length, 19);
  });
}
