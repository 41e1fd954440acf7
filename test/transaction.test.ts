/** Queries in a transaction of the user's own. Their outcomes must agree with the table. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { RowDataPacket } from "mysql2";
import { doWork, type Ended, RunError, type Summary } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { startProxy } from "./proxy.ts";
import { poll } from "./run.ts";
import { startServer } from "./server.ts";
import { target } from "./target.ts";

const server = await startServer({ args: ["--innodb-lock-wait-timeout=1"] });
after(server.stop);
const { socketPath, root } = server;
myglobals.config = { db: { socketPath, user: "root", database: "myscript" } };
await root.query(
  "USE myscript; CREATE TABLE held (id INT PRIMARY KEY) ENGINE = InnoDB; CREATE TABLE b (id INT PRIMARY KEY)",
);

/** Runs the queries with one worker. Returns the outcomes, by seq from 1 on. */
async function outcomesOf(
  queries: readonly string[],
): Promise<{ outcomes: string[]; summary: Summary; message: string }> {
  const outcomes: string[] = [""];
  const onEnded = ({ seq, outcome }: Ended) => {
    outcomes[seq] = outcome;
  };
  try {
    return { outcomes, summary: await doWork(queries, 1, { onEnded, retries: 0 }), message: "" };
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    return { outcomes, summary: error.summary, message: error.message };
  }
}

async function idsHeld(): Promise<number[]> {
  const [rows] = await root.query<RowDataPacket[]>("SELECT id FROM myscript.held ORDER BY id");
  return rows.map(({ id }) => id);
}

/** Statements with an implicit commit according to both manuals. Some have a statement that undoes them afterwards. */
const committing: readonly (string | readonly [sql: string, after: string])[] = [
  "CREATE TABLE a (id INT PRIMARY KEY, v INT) ENGINE = MyISAM",
  "ALTER TABLE a ADD w INT",
  "CREATE INDEX i ON a (v)",
  "DROP INDEX i ON a",
  "ANALYZE TABLE a",
  "ANALYZE LOCAL TABLE a",
  "CHECK TABLE a",
  "OPTIMIZE TABLE a",
  "REPAIR TABLE a",
  "/*!40000 ALTER TABLE a DISABLE KEYS */",
  "-- it\nALTER /* c */ TABLE a ENABLE KEYS",
  "RENAME TABLE a TO c",
  "TRUNCATE TABLE c",
  "FLUSH TABLES",
  "FLUSH LOCAL STATUS",
  ["FLUSH TABLES c WITH READ LOCK", "UNLOCK TABLES"],
  ["LOCK TABLES c READ", "UNLOCK TABLES"],
  ["/*!50001 LOCK TABLES c READ */", "UNLOCK TABLES"],
  "DROP TABLE c",
  "CREATE VIEW w AS SELECT 1",
  "ALTER VIEW w AS SELECT 2",
  "DROP VIEW w",
  "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END",
  "ALTER PROCEDURE p COMMENT 'a'",
  "DROP PROCEDURE p",
  "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
  "DROP FUNCTION f",
  "/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER g BEFORE INSERT ON b FOR EACH ROW BEGIN SET @z = 1; END */",
  "DROP TRIGGER g",
  "CREATE DATABASE d",
  "DROP DATABASE d",
  "CREATE USER u@localhost",
  "GRANT SELECT ON *.* TO u@localhost",
  "SET PASSWORD FOR u@localhost = ''",
  "REVOKE SELECT ON *.* FROM u@localhost",
  "RENAME USER u@localhost TO v@localhost",
  "DROP USER v@localhost",
  "BEGIN",
  "START TRANSACTION READ ONLY",
  // Not on MariaDB, whose event scheduler did not find its tables at the start.
  ...(target.isMariaDB ? [] : ["CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1", "DROP EVENT e"]),
  ...(target.isMariaDB
    ? ["EXECUTE IMMEDIATE 'CREATE TABLE ei (id INT)'", "SET STATEMENT lock_wait_timeout = 9 FOR DROP TABLE ei"]
    : []),
];
/** Statements whose effect differs between manuals or servers. */
const doubtful: typeof committing = [
  "LOAD INDEX INTO CACHE b",
  ["SET autocommit = 0", "SET autocommit = 1"],
  ...(target.isMariaDB ? (["CREATE TEMPORARY SEQUENCE s"] as const) : []), // commits
  ["/*!80000 BEGIN */", "DO 1"],
  ["/*M! BEGIN */", "DO 1"],
];
const staying = [
  "SELECT 1",
  "SHOW TABLES",
  "EXPLAIN SELECT 1",
  "CHECKSUM TABLE b",
  "SAVEPOINT s",
  "SET @x = 1",
  "SET SESSION sort_buffer_size = 100000",
  "SET GLOBAL sort_buffer_size = 2000000",
  "CREATE TEMPORARY TABLE tt (id INT)",
  "INSERT INTO tt VALUES (1)",
  "DROP /* c */ TEMPORARY TABLE tt",
  "CREATE /*!32302 TEMPORARY */ TABLE tt (id INT)",
  "DROP TEMPORARY TABLE tt",
  "PREPARE s FROM 'DO 1'",
  "DEALLOCATE PREPARE s",
  "USE myscript",
  "DO GET_LOCK('a', 0)",
  "DO RELEASE_LOCK('a')",
  "UNLOCK TABLES",
  "PURGE BINARY LOGS BEFORE '2001-01-01'",
];

for (const begin of ["BEGIN", "SET autocommit = 0"]) {
  test(`queries that a statement commits are done, and others are rolled back, after ${begin}`, async () => {
    await root.query("TRUNCATE myscript.held");
    const all = [...committing, ...staying, ...doubtful].filter(
      (each) => begin === "BEGIN" || !String(each).startsWith("SET auto"),
    );
    const queries = ["DO 1"];
    const inserts: { seq: number; id: number; sql: string }[] = [];
    for (const [id, each] of all.entries()) {
      const [sql, after] = typeof each === "string" ? [each] : each;
      queries.push(begin);
      inserts.push({ seq: queries.push(`INSERT INTO held VALUES (${id})`), id, sql });
      queries.push(sql, ...(after === "UNLOCK TABLES" ? [after] : []), "ROLLBACK", ...(after ? [after] : []));
    }
    const { outcomes, summary, message } = await outcomesOf(queries);
    assert.deepEqual([message, summary.skipped], ["", 0]);
    const ids = await idsHeld();
    for (const { seq, id, sql } of inserts) {
      if (/80000|M!/.test(sql) && outcomes[seq] === "unknown") continue; // only some servers execute this comment
      assert.equal(outcomes[seq], ids.includes(id) ? "done" : "failed", sql);
    }
    const sure = committing.length + staying.length;
    assert.deepEqual(
      ids.filter((id) => id < sure),
      committing.map((_, id) => id),
    );
  });
}

test("queries that a failing statement commits are done; a failure in a transaction rolls it back and ends the run", async () => {
  const committed = [
    "ALTER TABLE b ADD PRIMARY KEY (id)",
    "/*!50001 ALTER TABLE missing ADD a INT */",
    "CREATE TABLE b (id INT)",
    "DROP TABLE missing",
    "DROP VIEW missing",
    "RENAME TABLE missing TO other",
    "TRUNCATE TABLE missing",
    "CREATE INDEX i ON missing (id)",
    "LOCK TABLES missing WRITE",
    "INSTALL PLUGIN missing SONAME 'missing.so'",
    "CREATE VIEW b AS SELECT * FROM missing",
    "DROP USER missing@nowhere",
    "SET PASSWORD FOR missing@nowhere = ''",
    "DROP PROCEDURE missing",
    ...(target.isMariaDB ? ["EXECUTE IMMEDIATE 'DROP TABLE missing'"] : []),
    ...(!target.isMariaDB && target.version >= 8 ? ["IMPORT TABLE FROM 'missing.sdi'"] : []),
  ];
  const rolledBack = [
    "INSERT INTO held VALUES (1)",
    "SELECT * FROM missing",
    "ALTER TABLE (",
    "CREATE TABLE x (",
    "SET missing = 1",
    "KILL QUERY 4000000000",
    "ROLLBACK TO missing",
  ];
  for (const sql of [...committed, ...rolledBack]) {
    for (const begin of ["BEGIN", "SET autocommit = 0"]) {
      await root.query("TRUNCATE myscript.held");
      const queries = ["DO 1", begin, "INSERT INTO held VALUES (1)", sql, "INSERT INTO held VALUES (2)", "COMMIT"];
      const { outcomes, message } = await outcomesOf(queries);
      const isCommitted = committed.includes(sql);
      assert.deepEqual(await idsHeld(), isCommitted ? [1] : [], sql);
      assert.deepEqual(
        outcomes.slice(3),
        [isCommitted ? "done" : "failed", "failed", "skipped", "skipped"],
        `${begin} ${sql}`,
      );
      const expected = isCommitted
        ? /^Cannot go on: (?:query 4 has committed a transaction that was open|query 4 has failed)/
        : /^Cannot go on: query 4 has failed in a transaction, which is rolled back: /;
      assert.match(message, expected);
    }
  }
});

test("XA COMMIT commits its transaction, also a prepared one, and XA ROLLBACK rolls it back", async () => {
  await root.query("TRUNCATE myscript.held");
  const xa = (id: number, ...ends: string[]) => [
    `XA START 'x${id}','a',7`,
    `INSERT INTO held VALUES (${id})`,
    `XA END 'x${id}','a',7`,
    ...ends.map((end) => end.replace("%", `'x${id}','a',7`)),
  ];
  const queries = [
    ...xa(1, "XA COMMIT % ONE PHASE"),
    ...xa(2, "XA PREPARE %", "XA COMMIT %"),
    ...xa(3, "XA ROLLBACK %"),
    ...xa(4, "XA PREPARE %", "/* c */ XA ROLLBACK %"),
    ...xa(5, "XA PREPARE %", "XA RECOVER", "/*!50001 XA COMMIT % */"),
  ];
  const { outcomes, message } = await outcomesOf(queries);
  assert.equal(message, "");
  assert.deepEqual(await idsHeld(), [1, 2, 5]);
  for (const [index, query] of queries.entries()) {
    const id = Number(/VALUES \((\d)\)/.exec(query)?.[1]);
    if (id) assert.equal(outcomes[index + 1], [3, 4].includes(id) ? "failed" : "done", query);
  }
});

test("queries of a prepared XA transaction are unknown, and a failure in one rolls it back", async () => {
  await root.query("TRUNCATE myscript.held");
  const prepared = await outcomesOf(["XA START 'p'", "INSERT INTO held VALUES (1)", "XA END 'p'", "XA PREPARE 'p'"]);
  assert.deepEqual(prepared.outcomes.slice(1), ["unknown", "unknown", "unknown", "done"]);
  await poll(async () => (await root.query("XA COMMIT 'p'").catch(() => undefined)) !== undefined); // after its connection has ended
  assert.deepEqual(await idsHeld(), [1]);
  const failing = await outcomesOf([
    "XA START 'q'",
    "INSERT INTO held VALUES (2)",
    "INSERT INTO held VALUES (2)",
    "XA END 'q'",
  ]);
  assert.deepEqual(failing.outcomes.slice(1), ["failed", "failed", "failed", "skipped"]);
  await poll(async () => (await idsHeld()).length === 1);
});

test("a transaction is unknown if its COMMIT or DDL got no answer, and failed if its ROLLBACK got none", async (t) => {
  const proxy = await startProxy(t, socketPath);
  const { config } = myglobals;
  t.after(() => {
    myglobals.config = config;
  });
  myglobals.config = { db: { ...config.db, socketPath: proxy.path } };
  for (const [id, [end, outcome]] of [
    ["COMMIT", "unknown"],
    ["/*!50001 COMMIT */", "unknown"],
    ["CREATE TABLE lost (id INT)", "unknown"],
    ["DO 5; COMMIT", "unknown"],
    ["ROLLBACK", "failed"],
    ["UPDATE held SET id = 100 WHERE id = 100", "failed"],
  ].entries()) {
    await root.query("TRUNCATE myscript.held");
    const came = proxy.arm({ test: (text) => text.endsWith(end!) }, async () => {
      if (outcome === "unknown") await poll(async () => (await idsHeld()).length === 1); // the server has committed it
    });
    const { outcomes, message } = await outcomesOf(["DO 1", "BEGIN", `INSERT INTO held VALUES (${id})`, end!, "DO 2"]);
    assert.equal(came(), 1);
    assert.deepEqual(outcomes.slice(1, 4), ["done", outcome, outcome], end);
    assert.equal(message, "Cannot go on: a connection was lost, and with it a transaction that was open");
    await root.query("DROP TABLE IF EXISTS myscript.lost");
  }
});

test("queries that are rolled back after a CALL that may have committed them are unknown", async () => {
  await root.query("TRUNCATE myscript.held; CREATE PROCEDURE myscript.begins() BEGIN COMMIT; START TRANSACTION; END");
  const insert = "INSERT INTO held VALUES (1)";
  const { outcomes } = await outcomesOf(["BEGIN", insert, "CALL begins()", "INSERT INTO held VALUES (2)", "ROLLBACK"]);
  assert.deepEqual(outcomes.slice(2, 5), ["unknown", "failed", "failed"]);
  await root.query("TRUNCATE myscript.held");
  const failing = await outcomesOf(["BEGIN", insert, "CALL begins()", insert, "COMMIT"]);
  assert.deepEqual(failing.outcomes.slice(2), ["unknown", "failed", "failed", "skipped"]);
  assert.deepEqual(await idsHeld(), [1]);
});

test("a transaction that a failed query has begun by itself is rolled back, and the next queries are not part of it", async () => {
  await root.query(`CREATE PROCEDURE myscript.moves(n INT) BEGIN
    START TRANSACTION; INSERT INTO held VALUES (n); INSERT INTO held VALUES (n); COMMIT; END`);
  const text = "DO 1; BEGIN; INSERT INTO held VALUES (1); INSERT INTO held VALUES (1); COMMIT";
  for (const sql of ["CALL moves(1)", text, text.slice(6)]) {
    for (const workers of [1, 3]) {
      await root.query("TRUNCATE myscript.held");
      const inserts = [2, 3, 4].map((id) => `INSERT INTO held VALUES (${id})`);
      // A transaction that is still open would be committed by the next one.
      const { done, failures } = await doWork([sql, inserts[0]!, sql, ...inserts.slice(1), "BEGIN; COMMIT"], workers);
      assert.deepEqual(failures.map(({ seq, code }) => `${seq} ${code}`).sort(), ["1 ER_DUP_ENTRY", "3 ER_DUP_ENTRY"]);
      assert.deepEqual([done, await idsHeld()], [4, [2, 3, 4]], sql);
      assert.match(
        failures[0]!.message,
        / key '[^']+'(?: \(statement 4 of the query\))?; the transaction .* is rolled back$/,
      );
    }
  }
});

test("a query that leaves a transaction open ends the run of several workers before others get into it", async () => {
  await root.query("TRUNCATE myscript.held");
  const others = Array.from({ length: 3000 }, (_, at) => `INSERT INTO held VALUES (${at})`);
  const open = "DO 1; BEGIN; INSERT INTO held VALUES (-1)";
  const error = await doWork([open, ...others], 2).catch((error: RunError) => error);
  assert.ok(error instanceof RunError);
  assert.equal(
    error.message,
    "Cannot go on: query 1 has left a transaction open, and there are several workers: use one worker",
  );
  const { done, failed, skipped } = error.summary;
  assert.deepEqual([failed, done + skipped], [1, others.length]);
  assert.deepEqual([(await idsHeld()).length, skipped > 0], [done, true]);
});

test("queries of a transaction that is rolled back are unknown if the server says that a part stays", async (t) => {
  await root.query("CREATE TABLE myscript.stays (id INT) ENGINE = MyISAM");
  t.after(() => root.query("DROP TABLE myscript.stays"));
  const [insert, stays] = ["INSERT INTO held VALUES (1)", "INSERT INTO stays VALUES (1)"];
  for (const [queries, expected] of [
    [["BEGIN", insert, stays, "ROLLBACK"], "unknown unknown unknown done"],
    [["BEGIN", insert, "SAVEPOINT a", stays, "ROLLBACK TO a", "COMMIT"], "done done done unknown done done"],
    [["BEGIN", insert, stays, "INSERT INTO missing VALUES (1)"], "unknown unknown unknown failed"],
    [["BEGIN", insert, stays], "unknown unknown unknown"],
    [["BEGIN", insert, "ROLLBACK"], "failed failed done"],
  ] as const) {
    await root.query("TRUNCATE myscript.held; TRUNCATE myscript.stays");
    const { outcomes, summary } = await outcomesOf(queries);
    assert.equal(outcomes.slice(1).join(" "), expected, queries.join("; "));
    const { message } = summary.failures[0]!;
    assert.equal(
      /; what it did to tables without transactions stays$/.test(message),
      !expected.startsWith("failed"),
      message,
    );
    const [{ n }] = (await root.query<RowDataPacket[]>("SELECT COUNT(*) AS n FROM myscript.stays"))[0] as [
      { n: number },
    ];
    assert.equal(n, expected.startsWith("failed") ? 0 : 1);
  }
});

test("COMMIT AND CHAIN is done although the next transaction is rolled back", async () => {
  await root.query("TRUNCATE myscript.held");
  const insert = (id: number) => `INSERT INTO held VALUES (${id})`;
  const queries = ["BEGIN", insert(1), "COMMIT AND CHAIN", insert(2), "ROLLBACK AND CHAIN", insert(3), "ROLLBACK"];
  const { outcomes, message } = await outcomesOf([...queries, "SET completion_type = 1", "BEGIN", insert(4), "COMMIT"]);
  assert.equal(message, "A transaction was left open: what worker 1 has run in it is rolled back");
  const ended = "done done done failed done failed done done done done done".split(" ");
  assert.deepEqual([outcomes.slice(1), await idsHeld()], [ended, [1, 4]]);
});

test("a write in a read-only transaction of the input fails without a retry", async () => {
  await root.query("DELETE FROM held");
  const { failures, retries } = await doWork(
    ["START TRANSACTION READ ONLY", "INSERT INTO held VALUES (1)", "COMMIT"],
    1,
  ).catch((error: RunError) => error.summary);
  assert.deepEqual([failures.at(-1)!.code, retries], ["ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION", 0]);
});
