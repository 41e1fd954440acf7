/** Values of queries. A value has the same effect in every way of sending, or is refused if SQL has no such value. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { toSqlFile } from "../lib/features/sql-files/sql-file.ts";
import { doWork, type Query, type WorkOptions } from "../lib/mp.ts";
import { connect } from "../lib/mysql/connection.ts";
import { execute } from "../lib/mysql/execute.ts";
import { dateText, toSqlValues } from "../lib/mysql/values.ts";
import { hashOf } from "../lib/shared/hash.ts";
import { decodeUnit, encodeUnit } from "../lib/shared/query.ts";
import { runHere } from "./command.ts";
import { useDatabase } from "./database.ts";
import { seed } from "./random.ts";
import { scaled } from "./soak.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript-values-"));
after(() => rmSync(directory, { recursive: true }));
const database = await useDatabase();

const ways: [name: string, options: WorkOptions][] = [
  ["prepared", {}],
  ["rows", { onRows: () => {} }],
  ["batch", { batch: 16 }],
  ["ledger", { ledger: "led" }],
  ["ledger and batch", { ledger: "led", batch: 16 }],
];

const columns = {
  ...{ bytes: "VARBINARY(99)", text: "VARCHAR(99) CHARACTER SET utf8mb4", exact: "DECIMAL(40,10)", real_: "DOUBLE" },
  ...{ time_: "DATETIME(6)", day: "DATE", big: "BIGINT", large: "BIGINT UNSIGNED", bits: "BIT(64)", json_: "JSON" },
};
const names = Object.keys(columns);
const asStored = (name: string) =>
  name === "bytes" || name === "bits" ? `HEX(${name})` : `HEX(CAST(${name} AS CHAR))`;
const stored = `SELECT n, ${names.map((name) => `${asStored(name)} AS ${name}`)} FROM v ORDER BY n`;

/** Runs queries that each insert a row. Returns their outcomes and the table. */
async function outcomeOf(queries: readonly Query[], options: WorkOptions) {
  await database.sql(
    `DROP TABLE IF EXISTS v, led; CREATE TABLE v (n INT, ${names.map((name) => `${name} ${columns[name as "day"]}`)})`,
  );
  const { failures, failed, done } = await doWork(queries, 1, options);
  assert.equal(done + failed, queries.length);
  return { errors: failures.map(({ seq, errno, code }) => [seq, errno ?? code]), rows: await database.sql(stored) };
}

/** Returns the same for the SQL of a dry run, run as a client runs it. */
async function outcomeOfText(queries: readonly Query[]) {
  await database.sql("TRUNCATE v");
  const connection = await connect(database.db);
  const errors: unknown[] = [];
  for (const [index, query] of queries.entries()) {
    const file = toSqlFile(index + 1, query)
      .toString()
      .replace(/;\n$/, "");
    await execute(connection, file).catch(({ errno }) => errors.push([index + 1, errno]));
  }
  connection.destroy();
  return { errors: errors.slice(0, 100), rows: await database.sql(stored) };
}

test("a value is stored in the same way however it is sent, whatever was sent before it", async () => {
  const date = fc.date({ min: new Date("1000-01-02"), max: new Date("9999-12-30"), noInvalidDate: true });
  const value = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
    fc.constantFrom<unknown>(
      null,
      true,
      false,
      1e15,
      -0,
      2n ** 63n,
      2n ** 64n - 1n,
      "",
      "007",
      "1.50",
      '{"a": 1}',
      "C:\\",
    ),
    fc.string({ unit: "binary", maxLength: 20 }),
    date,
    date.map((value) => new Date(Math.floor(value.getTime() / 1000) * 1000)),
    fc.uint8Array({ maxLength: 20 }),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    fc.dictionary(fc.string({ maxLength: 5 }), fc.oneof(fc.string({ maxLength: 5 }), fc.integer()), { maxKeys: 2 }),
  );
  const places = fc.sample(fc.tuple(fc.constantFrom(...names), value), { seed, numRuns: scaled(3000, 300) });
  const queries = places.map(([name, value], n) => ({
    sql: `INSERT INTO v (n, ${name}) VALUES (?, ?)`,
    values: [n, value],
  }));
  const expected = await outcomeOf(queries, {});
  assert.ok(expected.rows.length > queries.length / 3, `${expected.rows.length} of ${queries.length}`);
  for (const [name, options] of ways.slice(1)) assert.deepEqual(await outcomeOf(queries, options), expected, name);
  assert.deepEqual(await outcomeOfText(queries), expected, "dry run");
});

test("bytes, boxed primitives and JSON keep their values", async () => {
  const around = new Uint8Array([9, 9, 1, 2, 255, 9]);
  const shared = new SharedArrayBuffer(3);
  new Uint8Array(shared).set([1, 2, 255]);
  const { buffer } = Uint8Array.of(1, 2, 255);
  const cases: [name: string, value: unknown, hex: string][] = [
    ["bytes", Buffer.from([1, 2, 255]), "0102FF"],
    ["bytes", around.subarray(2, 5), "0102FF"],
    ["bytes", new Uint8ClampedArray(buffer), "0102FF"],
    ["bytes", new DataView(around.buffer, 2, 3), "0102FF"],
    ["bytes", buffer, "0102FF"],
    ["bytes", shared, "0102FF"],
    ["bytes", new Uint8Array(shared, 1), "02FF"],
    ["bytes", new Int16Array([1, -1]), "0100FFFF"],
    ["bytes", new Float32Array([1.5]), "0000C03F"],
    ["text", Object("O'Hara"), "4F2748617261"],
    ["text", Object(1.5), "312E35"],
    ["text", Object(7n), "37"],
    ["text", Object(false), "30"],
    ["text", { a: [1, "b", null], gone: undefined }, Buffer.from('{"a":[1,"b",null]}').toString("hex").toUpperCase()],
    ["text", "007", "303037"],
    ["text", 7, "37"],
    ["text", "007", "303037"], // a text after a number in the same prepared statement
    ["big", "9007199254740993", Buffer.from("9007199254740993").toString("hex")],
    ["exact", 0.5, Buffer.from("0.5000000000").toString("hex").toUpperCase()],
    ["exact", 9007199254740993n, Buffer.from("9007199254740993.0000000000").toString("hex").toUpperCase()],
    [
      "text",
      new Date(2024, 0, 2, 3, 4, 5, 678),
      Buffer.from("2024-01-02 03:04:05.678000").toString("hex").toUpperCase(),
    ],
    ["text", new Date(2024, 0, 2, 3, 4, 5), Buffer.from("2024-01-02 03:04:05").toString("hex").toUpperCase()],
    [
      "time_",
      new Date(2024, 0, 2, 3, 4, 5, 678),
      Buffer.from("2024-01-02 03:04:05.678000").toString("hex").toUpperCase(),
    ],
  ];
  const queries = cases.map(([name, value], n) => ({
    sql: `INSERT INTO v (n, ${name}) VALUES (?, ?)`,
    values: [n, value],
  }));
  for (const [way, options] of ways) {
    const { errors, rows } = await outcomeOf(queries, options);
    assert.deepEqual(errors, [], way);
    for (const [n, [name, , hex]] of cases.entries()) assert.equal(rows[n]?.[name], hex, `${n} ${way}`);
  }
});

class Money {
  readonly cents = 5;
  toJSON() {
    return "0.05";
  }
}
const circle: unknown[] = [];
circle.push({ circle });
const refused: [value: unknown, message: string][] = [
  [Number("n/a"), "NaN: SQL has no such number"],
  [-1 / 0, "-Infinity: SQL has no such number"],
  [Object(Number.NaN), "NaN: SQL has no such number"],
  [undefined, "undefined: give null"],
  [new Date("not a date"), "an invalid Date"],
  [new Date(10_000, 0, 2), "a Date of the year 10000: SQL has 0000 to 9999"],
  [
    new Date(-1, 0, 2).setFullYear(-5) && new Date(new Date(0).setFullYear(-5)),
    "a Date of the year -5: SQL has 0000 to 9999",
  ],
  [new Map([[1, 2]]), "a Map: SQL takes null"],
  [new Set([1]), "a Set: SQL takes null"],
  [/a/, "a RegExp: SQL takes null"],
  [new TypeError("a"), "a TypeError: SQL takes null"],
  [() => 1, "a function: SQL takes null"],
  [Symbol("a"), "a symbol: SQL takes null"],
  [Promise.resolve(1), "a Promise: SQL takes null"],
  [new WeakMap(), "a WeakMap: SQL takes null"],
  [new Money(), "a Money: SQL takes null"],
  [new URL("http://localhost"), "a URL: SQL takes null"],
  [{ a: [1, Number.NaN] }, "JSON with NaN at .a[1]"],
  [[undefined], "JSON with undefined at [0]"],
  [{ a: 1n }, "JSON with a bigint at .a"],
  [{ price: new Money() }, "JSON with a Money at .price"],
  [{ a: new Map() }, "JSON with a Map at .a"],
  [{ a: Uint8Array.of(1) }, "JSON with a Uint8Array at .a"],
  [{ a: new Date(Number.NaN) }, "JSON with an invalid Date at .a"],
  [[{ toJSON: () => 1 }], "JSON with a function at [0].toJSON"],
  [circle, "JSON with a circle at [0].circle"],
];

test("a value that SQL does not have fails only its own query, however it is sent, with its place in the message", async () => {
  const sql = "INSERT INTO v (n, text, big) VALUES (?, ?, ?)";
  const queries: Query[] = refused.flatMap(([value], n) => [
    { sql, values: [n, null, value] },
    { sql, values: [n, "a", 1] },
  ]);
  for (const [way, options] of ways) {
    const messages: string[] = [];
    await outcomeOf(queries, {
      ...options,
      onEnded: ({ seq, outcome, failure }) => {
        assert.equal(outcome, seq % 2 === 1 ? "failed" : "done");
        if (failure) messages.push(failure.message);
      },
    });
    for (const [n, [, message]] of refused.entries()) {
      assert.equal(messages[n]?.slice(0, `Value 3 of 3 is ${message}`.length), `Value 3 of 3 is ${message}`, way);
    }
    assert.deepEqual(await database.sql("SELECT COUNT(*) AS n, COUNT(text) AS whole FROM v"), [
      { n: refused.length, whole: refused.length },
    ]);
  }
  for (const [value] of refused) assert.throws(() => toSqlFile(1, { sql, values: [1, 2, value] }), /value 3 of 3 is/i);
  const { failures } = await doWork([{ sql: "DO ?", values: "abc" as never }], 1);
  assert.equal(failures[0]?.message, "The values must be an array, not a string");
});

test("two statements with values fail with a clear message, however they are sent", async () => {
  const queries: Query[] = [
    { sql: "INSERT INTO v (n) VALUES (?); INSERT INTO v (n) VALUES (?)", values: [1, 2] },
    {
      sql: "DO ?;\n-- the second\nDO 'it''s', ?, 'a text of more than the eighty characters that the server gives of it'",
      values: [1, 2],
    },
    { sql: "DO ';', WRONG ?", values: [1] },
    { sql: "DO ? ; ", values: [1] },
  ];
  const isTold = [true, true, false];
  for (const [way, options] of ways) {
    const messages: string[] = [];
    await outcomeOf(queries, {
      ...options,
      onEnded: ({ failure }) => void (failure && messages.push(failure.message)),
    });
    const told = messages.map((message) => message.startsWith("With values it is one statement: You have an error"));
    assert.deepEqual(told, isTold, `${way}: ${messages}`);
    assert.deepEqual(await database.sql("SELECT * FROM v"), []);
  }
});

test("a script's workerDo() gets any value that structuredClone accepts, and a unit with another value fails", async () => {
  const script = join(directory, "script.mjs");
  writeFileSync(
    script,
    `export function workerDo({ values: [value] }) {
      if (value instanceof Map || value.cents === 5 || Object.is(value, NaN)) return 1;
      throw new Error("it is " + value);
    }`,
  );
  const values = [new Map(), new Money(), Number.NaN, () => 1, "b"];
  const { done, failures } = await doWork(
    values.map((value) => ({ sql: "a", values: [value] })),
    1,
    { script: pathToFileURL(script) },
  );
  assert.equal(done, 3);
  assert.match(failures[0]!.message, /^Value 1 of 1 is a function: SQL takes /);
  assert.match(failures[1]!.message, /^it is b/);
});

test("hashOf() is the same in the parent and in a thread, for all values", () => {
  const values = [...refused.map(([value]) => value), new SharedArrayBuffer(3), Object(7), Uint8Array.of(1).buffer];
  for (const value of values) {
    const unit = { sql: "DO ?", values: [value] };
    const { encoding, pieces } = encodeUnit(unit);
    const bytes = Buffer.concat([Buffer.of(encoding), ...(pieces as Buffer[])]);
    assert.equal(hashOf(decodeUnit(bytes, 0, bytes.length)), hashOf(unit));
  }
});

test("dateText() is the text that mysql2 sends for a Date, in its time zone", async () => {
  const date = new Date("2024-01-31T23:30:05.678Z");
  assert.equal(dateText(date, "Z"), "2024-01-31 23:30:05.678000");
  assert.equal(dateText(date, "+02:00"), "2024-02-01 01:30:05.678000");
  assert.equal(dateText(date, "-05:30"), "2024-01-31 18:00:05.678000");
  const years = new Date(2024, 5, 1);
  for (const year of [0, 99, 1000, 9999]) {
    years.setFullYear(year);
    assert.equal(dateText(years), `${String(year).padStart(4, "0")}-06-01 00:00:00`);
  }
  for (const timezone of ["local", "Z", "+02:00", "-05:30"]) {
    const connection = await connect({ ...database.db, timezone });
    await execute(connection, "DROP TABLE IF EXISTS d");
    await execute(connection, "CREATE TABLE d (d DATETIME(6))");
    const insert = { sql: "INSERT INTO d VALUES (?)", values: [date] };
    await execute(connection, insert);
    await execute(connection, insert, { onResult: () => () => true });
    connection.destroy();
    assert.deepEqual(await database.sql("SELECT DISTINCT CAST(d AS CHAR) AS d FROM d"), [
      { d: dateText(date, timezone) },
    ]);
  }
});

test("toSqlValues() accepts values of another realm", async () => {
  const { runInNewContext } = await import("node:vm");
  const values = runInNewContext("[{ a: 1 }, [2], new Uint8Array([3]), new Date(4), Object(5)]");
  const [object, array, bytes, date, five] = toSqlValues(values);
  assert.deepEqual([object, array, bytes, five], ['{"a":1}', "[2]", Buffer.of(3), 5]);
  assert.equal((date as Date).getTime(), 4);
  assert.throws(() => toSqlValues(runInNewContext("[new Map()]")), /^TypeError: Value 1 of 1 is a Map/);
});

test("--dry-run shows the text that is sent, and which query fails because of its values", async () => {
  const queries: Query[] = [
    { sql: "DO ?, ?\n, ?", values: [Uint8Array.of(1), "C:\\", new Date(2024, 0, 2, 3, 4, 5, 6)] },
    { sql: "DO ?", values: [Number.NaN] },
  ];
  const { status, stdout } = await runHere(["--dry-run"], { queries });
  assert.equal(status, 0);
  assert.deepEqual(stdout.split("\n"), [
    "1\tDO _binary X'01', _utf8mb4 X'433a5c'\\n, TIMESTAMP'2024-01-02 03:04:05.006000'",
    "2\tDO ? -- fails: Value 1 of 1 is NaN: SQL has no such number",
    "",
  ]);
});
