/** Session state that queries set without SET, such as user variables, and the queries that read it. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { doWork, type Ended, type Query, type RunError, type Summary } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { variablesIn } from "../lib/mysql/variables.ts";
import { startServer } from "./server.ts";
import { lacks } from "./target.ts";

const server = await startServer(); // not a sandbox, because the test needs procedures
after(server.stop);
const { socketPath, root } = server;
myglobals.config = { db: { socketPath, user: "root", database: "myscript" } };
await root.query("USE myscript");
await sql("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)");
await sql("CREATE PROCEDURE gives(n INT, OUT x INT) SET x = n + 1");

test("variablesIn() returns the state that a query reads and sets, after and inside comments of each kind", () => {
  const cases: readonly [sql: string, reads: string[], sets: string[]][] = [
    ["SELECT 5 INTO @x", [], ["@x"]],
    ["SELECT a, b FROM t INTO @x, @`Y z`", [], ["@x", "@y z"]],
    ["SELECT @x := 5", [], ["@x"]],
    ["SELECT @x, @y", ["@x", "@y"], []],
    ["SELECT @i := @i + 1, a FROM t, (SELECT @i := 0) AS i", [], ["@i"]],
    ["SELECT IF(@p = v, @r := @r + 1, @r := 1), @p := v FROM t", [], ["@r", "@p"]],
    ["UPDATE t SET v = (@n := @n + 1)", ["@n"], ["@n"]],
    ["DO @a := @b := 1", [], ["@b", "@a"]],
    ["CALL p(@x)", [], ["@x"]],
    ["EXECUTE IMMEDIATE 'SELECT 5 INTO @x'", [], ["@x"]],
    ["GET DIAGNOSTICS @n = NUMBER", ["warnings"], ["@n"]],
    ["LOAD DATA LOCAL INFILE 'a' INTO TABLE t (id, @v) SET v = @v + 1", [], ["@v"]],
    ["INSERT INTO t (v) VALUES (LAST_INSERT_ID ( ))", ["LAST_INSERT_ID()"], []],
    ["UPDATE t SET id = LAST_INSERT_ID(id + 1)", [], []],
    ["INSERT INTO t VALUES (1, 2); INSERT INTO t (v) VALUES (LAST_INSERT_ID())", [], []],
    ["UPDATE t SET v = 1; INSERT INTO t (v) VALUES (LAST_INSERT_ID())", ["LAST_INSERT_ID()"], []],
    ["SELECT @@session.`identity`, @@`warning_count`", ["LAST_INSERT_ID()", "warnings"], []],
    ["SELECT @@identity, @@session.last_insert_id", ["LAST_INSERT_ID()"], []],
    ["SELECT ROW_COUNT(), FOUND_ROWS()", ["ROW_COUNT()", "FOUND_ROWS()"], []],
    ["DELETE FROM t; INSERT INTO t (v) VALUES (ROW_COUNT())", [], []],
    ["SHOW COUNT(*) WARNINGS", ["warnings"], []],
    ["SELECT PREVIOUS VALUE FOR s, LASTVAL(s)", ["LASTVAL()"], []],
    ["INSERT INTO t (v) VALUES (1); SET @a = LAST_INSERT_ID(); INSERT INTO t (v) VALUES (@a)", [], ["@a"]],
    ["GRANT SELECT ON t TO root@localhost, 'a'@'b'; SELECT 1", [], []],
    ["CREATE PROCEDURE p() BEGIN SET @a = 1; SELECT LAST_INSERT_ID(); END", [], []],
    ["CREATE DEFINER = CURRENT_USER() FUNCTION f() RETURNS INT BEGIN SET @a = 1; RETURN @b; END", [], []],
    ["CREATE TABLE event AS SELECT @x", ["@x"], []],
    ["INSERT INTO t VALUES ('@x := 1', \"@y\", `@z`) -- @u", [], []],
  ];
  const wraps: ((sql: string) => string)[] = [
    (sql) => sql,
    (sql) => `-- @q\n${sql}`,
    (sql) => `# @q := 1\n${sql}`,
    (sql) => `/* @q */${sql}`,
    (sql) => `/*! ${sql} */`,
    (sql) => `/*!50001 ${sql} */`,
    (sql) => `/*M!100100 ${sql} */`,
    (sql) => sql.replace("INTO @", "INTO/* a */@").replace(" := ", "/* @q */:=#b\n"),
  ];
  for (const [sql, reads, sets] of cases) {
    for (const wrap of wraps) {
      const found = variablesIn(wrap(sql), true);
      assert.deepEqual([[...(found?.reads ?? [])], [...(found?.sets ?? [])]], [reads, sets], wrap(sql));
      if (sets.length > 0) assert.ok(variablesIn(wrap(sql), false), wrap(sql)); // noticed even if no query has set anything so far
    }
  }
});

async function sql<Row>(text: string): Promise<Row[]> {
  return (await root.query(text))[0] as Row[];
}

/** Runs queries on the test's table and returns their outcomes. */
async function run(queries: readonly Query[], workers: number, options = {}) {
  await sql("TRUNCATE t");
  const outcomes: string[] = [];
  const onEnded = ({ seq, outcome }: Ended) => {
    outcomes[seq] = outcome;
  };
  const first = "INSERT INTO t VALUES (7, 7)";
  const result = await doWork([first, ...queries], workers, { onEnded, ...options }).then(
    (summary: Summary) => ({ summary, message: "" }),
    (error: RunError) => ({ summary: error.summary, message: error.message }),
  );
  return { ...result, outcomes: outcomes.slice(2) };
}

const pairs: readonly (readonly [setting: string, reading: string, name: string])[] = [
  ["SELECT 5 INTO @x", "INSERT INTO t (v) VALUES (@x)", "@x"],
  ["SELECT @x := 5", "INSERT INTO t (v) SELECT /* a */ @X", "@x"],
  ["CALL gives(1, @x)", "INSERT INTO t (v) VALUES (@x)", "@x"],
  ["UPDATE t SET v = (@n := 4)", "UPDATE t SET v = (@n := @n + 1)", "@n"],
  ["INSERT INTO t (v) VALUES (1)", "/*!50001 INSERT INTO t (v) VALUES (LAST_INSERT_ID()) */", "LAST_INSERT_ID()"],
  ["UPDATE t SET v = 8", "INSERT INTO t (v) VALUES (ROW_COUNT())", "ROW_COUNT()"],
  ["SELECT v FROM t", "INSERT INTO t (v) VALUES (FOUND_ROWS())", "FOUND_ROWS()"],
];

test("doWork() with several workers, in a shard or with a ledger ends before a query that reads what another one has set", async () => {
  for (const [setting, reading, name] of pairs) {
    for (const [workers, options, why] of [
      [4, {}, "there are 4: use one worker"],
      [1, { ledger: "variables" }, "with a ledger each query must stand by itself"],
    ] as const) {
      const { message } = await run([setting, reading], workers, options);
      assert.equal(
        message,
        `Cannot go on at query 3: it reads ${name}, which query 2 has ${name.startsWith("@") ? "set" : "left"} for one connection, and ${why}`,
      );
      await sql("DROP TABLE IF EXISTS variables");
    }
    const inOrder = await run([setting, reading], 1);
    assert.deepEqual([inOrder.message, inOrder.outcomes], ["", ["done", "done"]]);
    const [{ v } = {}] = await sql<{ v: number }>("SELECT v FROM t ORDER BY id DESC LIMIT 1");
    assert.equal(
      v,
      { "@x": name === "@x" && setting.startsWith("CALL") ? 2 : 5, "@n": 5, "LAST_INSERT_ID()": 8 }[name] ?? 1,
    );
  }
  const [setting, reading] = pairs[0]!;
  const other = await run([setting, reading], 1, { shard: { index: 1, count: 2 } });
  assert.match(
    other.message,
    /^Cannot go on at query 3: it reads @x, which query 2 has set for one connection, and a shard/,
  );
});

test("doWork() with several workers ends before a query that reads state which no query sets visibly, such as a trigger's", async () => {
  const { message } = await run(["DO 1", "INSERT INTO t (v) VALUES (@ofTrigger)"], 4);
  assert.equal(
    message,
    "Cannot go on at query 3: it reads @oftrigger, which no query sets on all connections, and there are 4: use one worker",
  );
  const { summary } = await run(["INSERT INTO t (v) VALUES (@forAll)"], 4, { initCommands: ["SET @forAll = 3"] });
  assert.equal(summary.done, 2);
});

test("doWork() runs queries that read only what they set themselves, with any number of workers", async () => {
  const own = [
    "SELECT @i := @i + 1, v FROM t, (SELECT @i := 0) AS i",
    "CALL gives(1, @x)",
    "SET @a = 1, @b = 2; INSERT INTO t (v) VALUES (@a + @b)",
    "INSERT INTO t (v) VALUES (1); INSERT INTO t (v) VALUES (LAST_INSERT_ID())",
    "DO GET_LOCK('a', 9), RELEASE_LOCK('a')",
    "UPDATE t SET v = 1 WHERE 'a@b.c' = 'x'",
  ];
  const { message, summary } = await run([...own, ...own, ...own], 3);
  assert.deepEqual([message, summary.failures], ["", []]);
});

test("doWork() with one worker ends before a query that reads state of a lost connection, and not earlier", async () => {
  for (const [setting, reading, name] of pairs) {
    const kill = "KILL CONNECTION_ID()";
    const lost = await run([setting, kill, "SELECT 1", "SELECT v FROM t WHERE 'a@b.c' = 'x'", reading], 1);
    // Each of the queries between sets this state anew.
    const isOfTheLast = /^(?:ROW_COUNT|FOUND_ROWS)/.test(name);
    const message = isOfTheLast
      ? ""
      : `Cannot go on: query 6 reads ${name}, which was set on a connection that is lost`;
    assert.deepEqual([lost.message, lost.outcomes.at(-1)], [message, isOfTheLast ? "done" : "skipped"], reading);
    const again = await run(["SELECT 1", kill, setting, reading], 1);
    assert.deepEqual([again.message, again.outcomes.at(-1)], ["", "done"]);
  }
  const prologue = [
    "SET @x = 5",
    "INSERT INTO t (v) VALUES (1)",
    "KILL CONNECTION_ID()",
    "INSERT INTO t (v) VALUES (@x)",
  ];
  assert.equal((await doWork(prologue, 1)).done, 3);
  const killed = await run(["DO GET_LOCK('a', 0)", "KILL CONNECTION_ID()", "DO 1"], 1);
  assert.equal(killed.message, "Cannot go on: a connection was lost, and with it what GET_LOCK() has set");
});

test("doWork() with several workers refuses locks, also in comments or in a literal", async () => {
  for (const [statement, name] of [
    ["DO GET_LOCK('a', 0)", "GET_LOCK()"],
    ["FLUSH LOCAL TABLES WITH READ LOCK", "FLUSH LOCAL TABLES WITH READ LOCK"],
    ["FLUSH TABLES t FOR EXPORT", "FLUSH TABLES FOR EXPORT"],
    ["CREATE /*!32302 TEMPORARY */ TABLE tt (id INT)", "CREATE TEMPORARY TABLE"],
    ["SET GLOBAL sort_buffer_size = 1000000, @x = 5", "SET"],
    ["EXECUTE IMMEDIATE 'SET @x = 1'", "SET"],
  ] as const) {
    const { message } = await run([statement], 4);
    assert.match(
      message,
      new RegExp(
        `^Cannot go on at query 2: ${name.replace(/[()]/g, ".")} applies to one connection only, and there are 4: ${
          name === "SET" ? "put it before all other queries, or use one worker" : "use one worker"
        }$`,
      ),
    );
  }
});

test("doWork() runs a text at the top only once if it does more than set session state", async () => {
  await sql("TRUNCATE t");
  const { done } = await doWork(["SET @a = 3; INSERT INTO t (v) VALUES (@a)", "DO 1", "DO 1"], 3);
  assert.equal(done, 3);
  assert.deepEqual(await sql("SELECT v FROM t"), [{ v: 3 }]);
});

test("doWork() of a resumed run refuses to read state of the earlier run, and reads state of this run", async () => {
  const earlier = (seq: number) => (seq <= 2 ? ("done" as const) : undefined);
  const [setting, reading] = pairs[0]!;
  const refused = await run([setting, reading], 1, { resumed: true, earlier });
  assert.match(
    refused.message,
    /^Cannot go on at query 3: it reads @x, .* and that of the earlier run is gone: begin anew/,
  );
  const anew = await run(["DO 1", setting, reading], 1, { resumed: true, earlier });
  assert.equal(anew.message, "");
});

test("EXECUTE IMMEDIATE of a literal sets the same state as the literal", {
  skip: lacks("BEGIN NOT ATOMIC"),
}, async () => {
  const { message } = await run(["EXECUTE IMMEDIATE 'SELECT 5 INTO @x'", "INSERT INTO t (v) VALUES (@x)"], 2);
  assert.match(message, /^Cannot go on at query 3: it reads @x, which query 2 has set/);
});
