import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import mysql from "mysql2/promise";
import { doWork, type Query } from "../lib/mp.ts";
import { inlineValues } from "../lib/mysql/batchable.ts";
import { connectionIn } from "../lib/mysql/connection.ts";
import { execute } from "../lib/mysql/execute.ts";
import type { SqlValue } from "../lib/mysql/values.ts";
import { status, useDatabase } from "./database.ts";
import { seed } from "./random.ts";
import { scaled } from "./soak.ts";
import { numbers, target } from "./target.ts";

const database = await useDatabase();

test("inlineValues() gives no text where a literal could be anything else than the parameter", () => {
  const texts: [sql: string, values: SqlValue[], text: string | undefined][] = [
    [
      "DELETE FROM t WHERE a = ? AND b IN (?,?)",
      [7, "it's", null],
      "DELETE FROM t WHERE a = 7e0 AND b IN ('it''s',NULL)",
    ],
    ["SELECT '(?)', `a ( ? )`, ?", [1.5], "SELECT '(?)', `a ( ? )`, 1.5e0"],
    ["SELECT '?', ?", [1], undefined],
    ["SELECT v-?", [-1], "SELECT v- -1e0"],
    ["SELECT a FROM t WHERE b = ? LIMIT 1, ?", [1, 7], "SELECT a FROM t WHERE b = 1e0 LIMIT 1, 7"],
    ["SELECT ?=?", [12345678901234567890n, true], "SELECT 12345678901234567890.=1"],
    ["SELECT ?", ["a\\b"], undefined],
    ["SELECT ?", [new Date()], undefined],
    ["SELECT ?", [-0], undefined],
    ["SELECT ?", [], undefined],
    ["SELECT ?", [1, 2], undefined],
    ["SELECT ? /* ? */", [1], undefined],
    ["SELECT ?; SELECT 2", [1], undefined],
    ["CALL p(?)", [1], undefined],
    ["SELECT 'a' ?", ["b"], undefined],
    ["SELECT ? 'a'", ["b"], undefined],
    ["SELECT ? ?", ["a", "b"], undefined],
    ["SELECT _latin1 ?", ["a"], undefined],
    ["SELECT TIME ?", ["10:00:00"], undefined],
    ["SELECT 1 ORDER BY ?", [1], undefined],
    ["SELECT ?", ["x".repeat(10_000)], undefined],
  ];
  for (const [sql, values, text] of texts) assert.equal(inlineValues(sql, values), text, sql);
});

const columns = {
  ...{ i: "INT", big: "BIGINT", u: "INT UNSIGNED", d: "DECIMAL(30,10)", f: "DOUBLE", g: "FLOAT", bi: "BIT(20)" },
  ...{ vc: "VARCHAR(99)", vl: "VARCHAR(99) CHARACTER SET latin1", vb: "VARBINARY(99)", bl: "BLOB", j: "JSON" },
  ...{ dt: "DATETIME(6)", da: "DATE", ti: "TIME(3)", y: "YEAR", e: "ENUM('a','b','1')" },
};

/** Statements with `?`, in which a value is stored, compared, and put into an expression. */
const statements = Object.keys(columns).flatMap((name) => [
  `INSERT INTO p (id, ${name}) VALUES (9, ?)`,
  `UPDATE p SET ${name} = ? WHERE id = 2`,
  `UPDATE p SET vc = 'hit' WHERE ${name} < ?`,
  `UPDATE p SET vc = 'hit' WHERE ${name} IN (?, 5) OR ${name} LIKE ?`,
  `UPDATE p SET ${name} = ${name} - ? WHERE id < 6`,
  `UPDATE p SET vc = CONCAT(${name}, ?, ?)`,
  `UPDATE p SET vc = COALESCE(NULLIF(?, 7), ${name}) * ?`,
  `UPDATE p SET vc = IF(id > 2, ?, ${name})`,
]);
statements.push(
  ...[
    "? / 3",
    "-?",
    "HEX(?)",
    "COERCIBILITY(?)",
    "CHARSET(?)",
    "COLLATION(CONCAT(?, vl))",
    "JSON_ARRAY(?)",
    "? | 2",
  ].map((expression) => `UPDATE p SET vc = ${expression}`),
  ...["CAST(? AS CHAR)", "CAST(? AS DECIMAL(20,5))", "ROUND(?, 1)", "GREATEST(?, i)", "LEAST(?, vc)", "MD5(?)"].map(
    (expression) => `UPDATE p SET vc = ${expression}`,
  ),
  "UPDATE p SET dt = DATE_ADD(dt, INTERVAL (?) SECOND)",
  "UPDATE p SET vc = (SELECT MAX(z) FROM (SELECT ? AS z UNION ALL SELECT i FROM p) AS q)",
  "DELETE FROM p WHERE i = ? AND (i, u) = (?, 7)",
);

const skip = !target.isMariaDB && "a MySQL takes a parameter for what stands around it";

test("inlineValues() means to the server what the prepared statement means, whatever the value and the session", {
  skip,
}, async () => {
  const connection = await mysql.createConnection({ ...database.db, dateStrings: true, multipleStatements: true });
  await connection.query(
    `CREATE TABLE p (id INT PRIMARY KEY, ${Object.entries(columns).map((pair) => pair.join(" "))}, KEY (i), KEY (vc))`,
  );
  await connection.query(
    `INSERT INTO p (id, ${Object.keys(columns)}) VALUES
    (1, 1, 9007199254740993, 3, 12345678901234567890.12, 0.1, 0.1, 5, 'a', 'a', 'a', 'a', '{"a":1}', '2024-01-02 03:04:05', '2024-01-02', '01:02:03', 2024, 'a'),
    (2, 7, -5, 7, 7, 7, 7, 7, '7', '7', '7', '7', '[7]', '2024-01-02 03:04:05.123', '2024-01-02', 7, 2007, '1'),
    (3, 0, 0, 0, 0, 0, 0, 0, '', '', '', '', '0', 0, 0, 0, 0, 'b')`.replace(
      ", 0, 0, 0, 0, 'b'",
      ", '1970-01-01', '1970-01-01', 0, 2000, 'b'",
    ),
  );
  const value = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.constantFrom<SqlValue>(
      0,
      1,
      2,
      7,
      0.1,
      1e15,
      1e20,
      "a",
      "7",
      "1.50",
      "12abc",
      "2024-01-02",
      "it's",
      "?",
      '{"a": 7}',
      "%a%",
      " a ",
    ),
    fc.string({ unit: "binary", maxLength: 20 }),
    fc.constantFrom(null, true, false, 7n, 12345678901234567890n),
    fc.uint8Array({ maxLength: 10 }).map((bytes) => Buffer.from(bytes)),
  );
  const session = fc.constantFrom(
    "SET NAMES utf8mb4, sql_mode = DEFAULT",
    "SET NAMES utf8mb4, sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin, sql_mode = ''",
  );
  let compared = 0;
  const after = async (query: Query) => {
    await connection.query("START TRANSACTION");
    try {
      const affectedRows = await execute(connectionIn(connection)!, query);
      const [rows] = await connection.query("SELECT *, HEX(vc), HEX(vb), HEX(bl), bi + 0 FROM p ORDER BY id");
      return { affectedRows, rows };
    } catch (error) {
      return { errno: (error as { errno: number }).errno };
    } finally {
      await connection.query("ROLLBACK");
    }
  };
  const property = fc.asyncProperty(session, fc.constantFrom(...statements), value, async (init, sql, value) => {
    const values = [...sql.matchAll(/\?/g)].map(() => value);
    const text = inlineValues(sql, values);
    fc.pre(text !== undefined);
    await connection.query(init);
    const asText = await after(text!);
    if (asText.errno !== undefined) return; // it is tried again
    compared++;
    assert.deepEqual(asText, await after({ sql, values }));
  });
  await fc.assert(property, { seed, numRuns: scaled(4000, 200) }).finally(() => connection.destroy());
  assert.ok(compared > scaled(1000, 50), `${compared}`);
});

test("doWork() in batches sends queries with values along, and what fails with them in the text as a prepared statement", {
  skip,
}, async () => {
  await database.sql(
    `DROP TABLE IF EXISTS v; CREATE TABLE v (id INT PRIMARY KEY, v VARCHAR(9)) SELECT seq AS id, '' AS v FROM ${numbers(200)}`,
  );
  const queries = Array.from(
    { length: 200 },
    (_, n): Query => ({ sql: "UPDATE v SET v = ? WHERE id = ?", values: [`v${n}`, n + 1] }),
  );
  queries[50] = { sql: "UPDATE v SET v = ? WHERE id > 50 LIMIT 0, ?", values: ["x", 1] };
  queries[60] = { sql: "INSERT INTO v (id) VALUES (?)", values: [1] };
  queries[70] = {
    sql: "UPDATE v SET v = CONCAT(?, (SELECT 71 FROM v AS w ORDER BY id LIMIT 0, ?)) WHERE id = 71",
    values: ["x", 1],
  };
  for (const ledger of [undefined, "v_ledger"]) {
    await database.sql("UPDATE v SET v = ''");
    const prepared = await status(database, "Com_stmt_execute");
    const { done, failures } = await doWork(queries, 1, { batch: 16, ledger });
    assert.deepEqual(
      [done, failures.map(({ seq, errno }) => [seq, errno])],
      [
        198,
        [
          [51, 1064],
          [61, 1062],
        ],
      ],
    );
    assert.equal((await status(database, "Com_stmt_execute")) - prepared, 1);
    assert.deepEqual(
      await database.sql("SELECT COUNT(*) AS n FROM v WHERE v <> '' AND v IN (CONCAT('v', id - 1), 'x71')"),
      [{ n: 198 }],
    );
  }
  const prepared = await status(database, "Com_stmt_execute");
  await doWork(
    [
      { sql: "SELECT ?", values: ["a"] },
      { sql: "SELECT ?", values: ["b"] },
    ],
    1,
    { batch: 2, initCommands: ["SET NAMES latin1"] },
  );
  assert.equal(
    (await status(database, "Com_stmt_execute")) - prepared,
    2,
    "another character set is left to the server",
  );
});
