import assert from "node:assert/strict";
import { rmSync, symlinkSync } from "node:fs";
import { after, test } from "node:test";
import mysqlOfCallbacks, { type ConnectionOptions } from "mysql2";
import mysql from "mysql2/promise";
import { type Range, type RangesOptions, ranges } from "../lib/features/ranges/ranges.ts";
import { doWork, type Query } from "../lib/mp.ts";
import { connect } from "../lib/mysql/connection.ts";
import { execute } from "../lib/mysql/execute.ts";
import type { Snapshot } from "../lib/parent/figures.ts";
import type { Checkpoints } from "../lib/shared/source-context.ts";
import { useDatabase } from "./database.ts";
import { startProxy } from "./proxy.ts";
import { poll } from "./run.ts";
import { silent } from "./watch.ts";

const { db, sql } = await useDatabase();
const isMariaDb = /MariaDB/.test((await sql<{ v: string }>("SELECT VERSION() AS v"))[0]!.v);
const connection = await connect(db);
after(() => connection.destroy());
const size = 7;

const texts = "a,B,c ,d'e,f\"g,h\\,i\n,j\0k,l?m,ä,ß,Ω,😀,😀x,,z%_,N,o\t,0,00".split(",");
const bytes = ["", "00", "0000", "20", "2020", "ff", "fe27", "5c", "c328", "80", "8020", "8000"];
/** Primary keys, each with its columns and its values. */
const keys: Record<string, [columns: Record<string, string>, rows: unknown[][]]> = {
  "INT with gaps": [{ k: "INT" }, upTo(50, (n) => [n * n * (n % 2 ? 1 : -1)])],
  "BIGINT from end to end": [
    { k: "BIGINT" },
    [-(2n ** 63n), -(2n ** 53n) - 5n, 2n ** 53n - 5n, 2n ** 63n - 10n].flatMap((from) =>
      upTo(9, (n) => [`${from + BigInt(n)}`]),
    ),
  ],
  "BIGINT UNSIGNED up to its end": [{ k: "BIGINT UNSIGNED" }, upTo(30, (n) => [`${2n ** 64n - BigInt(n)}`])],
  "DECIMAL beyond a double": [
    { k: "DECIMAL(38, 10)" },
    upTo(30, (n) => [`${n % 2 ? "-" : ""}1234567890123456789012345678.00000000${n + 10}`]),
  ],
  "VARCHAR that ignores case": [
    { k: "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci" },
    texts.filter((k) => k !== "ä").map((k) => [k]),
  ],
  "VARCHAR by code points": [
    { k: "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" },
    [...texts, "A", "b", "Ä"].map((k) => [k]),
  ],
  "CHAR in latin1": [
    { k: "CHAR(9) CHARACTER SET latin1 COLLATE latin1_general_cs" },
    [..."abcdefgäöüßéèñ'"].map((k) => [k]),
  ],
  "VARBINARY with blanks and zeros": [{ k: "VARBINARY(9)" }, bytes.map((hex) => [Buffer.from(hex, "hex")])],
  "BINARY that is filled up": [{ k: "BINARY(4)" }, upTo(20, (n) => [Buffer.from([n * 11])])],
  "DATETIME of microseconds": [{ k: "DATETIME(6)" }, upTo(30, (n) => [`2024-10-27 02:30:00.0000${n + 10}`])],
  DATE: [{ k: "DATE" }, upTo(28, (n) => [`1999-02-${n}`])],
  "TIME beyond a day": [{ k: "TIME(3)" }, upTo(30, (n) => [`${n % 2 ? "-" : ""}${n * 20}:00:00.00${n % 10}`])],
  "three columns": [
    { a: "SMALLINT", b: "VARCHAR(9)", c: "DATETIME(3)" },
    upTo(60, (n) => [n % 3, texts[n % 2], `2024-01-01 00:00:00.${n + 100}`]),
  ],
  "four columns of other types": [
    { a: "DECIMAL(5, 2)", b: "VARBINARY(9)", c: "BIGINT", d: "DATE" },
    upTo(60, (n) => [
      n % 2 ? "1.10" : "1.01",
      Buffer.from([n % 4]),
      `${2n ** 60n + BigInt(n % 5)}`,
      `2024-01-${1 + (n % 31)}`,
    ]),
  ],
  ...(isMariaDb && {
    UUID: [{ k: "UUID" }, upTo(30, (n) => [`0000${n + 1000}-0000-4${999 - n}-8000-0000000000${n + 10}`])],
    "VARCHAR with blanks that count": [
      { k: "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin" },
      ["", " ", "  ", "a", "a ", "a  ", "b", "B", "b ", "b\t"].map((k) => [k]),
    ],
  }),
};

for (const [index, [name, [columns, rows]]] of Object.entries(keys).entries()) {
  test(`ranges() by ${name}: all ranges but the last are full, and each row is in one`, async () => {
    const table = `k${index}`; // a new name, because MySQL keeps the parameter types of a prepared statement even if the table is replaced
    const names = Object.keys(columns);
    const definitions = names.map((column) => `${column} ${columns[column]} NOT NULL`);
    await sql(`CREATE TABLE ${table} (${definitions}, v INT NOT NULL DEFAULT 0, PRIMARY KEY (${names}))`);
    for (const values of rows) {
      await execute(connection, { sql: `INSERT INTO ${table} (${names}) VALUES (${names.map(() => "?")})`, values });
    }
    assert.deepEqual(await sizes(table), full(rows.length));
    assert.deepEqual(await sql(`SELECT MIN(v) AS low, MAX(v) AS high FROM ${table}`), [{ low: 1, high: 1 }]);
  });
}

test("ranges() by zero dates: all ranges but the last are full, and each row is in one, with any sql_mode", async () => {
  const mode = "SET SESSION sql_mode = ";
  const dates = ["0000-00-00", ...upTo(10, (n) => `2024-01-${n + 10}`)];
  for (const [index, type] of ["DATE", "DATETIME", "DATETIME(3)"].entries()) {
    const table = `zero${index}`;
    await sql(
      `CREATE TABLE ${table} (k ${type} NOT NULL, b INT NOT NULL, v INT NOT NULL DEFAULT 0, PRIMARY KEY (k, b))`,
    );
    await sql(`ALTER TABLE ${table} ADD UNIQUE one (k)`);
    await sql(`${mode}''; INSERT INTO ${table} (k, b) VALUES ${dates.map((date) => `('${date}', 1)`)}`);
    const strict = "'STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE'";
    for (const [passes, index] of ["PRIMARY", "one"].entries()) {
      await execute(connection, mode + strict);
      assert.deepEqual(await sizes(table, { index }), full(dates.length), type);
      assert.deepEqual(await sql(`SELECT DISTINCT v FROM ${table}`), [{ v: passes + 1 }], type);
    }
  }
  for (const on of [(text: string) => execute(connection, text), sql]) await on(`${mode}DEFAULT`);
});

for (const [name, open] of Object.entries<(options: ConnectionOptions) => Walked | Promise<Walked>>({
  options: (options) => options,
  "a connection": mysql.createConnection,
  "a connection of callbacks": mysqlOfCallbacks.createConnection,
  "a connection that does not know yet whether it has one": (options) =>
    mysqlOfCallbacks.createConnection(options).promise(),
})) {
  test(`ranges() with ${name} reconnects after a loss and goes on from its last key`, async (t) => {
    await createNumbers("t", 100);
    const proxy = await startProxy(t, db.socketPath);
    const road = `${proxy.path}-road`;
    t.after(() => rmSync(road, { force: true }));
    const log: string[] = [];
    const progress = {
      ...silent,
      log(line: string) {
        log.push(line);
        symlinkSync(proxy.path, road);
      },
    };
    symlinkSync(proxy.path, road);
    const queries = async function* () {
      let n = 0;
      const given = await open({ ...db, socketPath: road });
      for await (const { where, values } of ranges(given, "t", { size: 10 })) {
        yield { sql: `UPDATE t SET v = v + 1 WHERE ${where}`, values };
        if (++n === 3) rmSync(road);
        if (n === 3 || n === 6) proxy.arm(/OFFSET/, "lose");
      }
      if ("end" in given) await given.end(); // the owner may end its connection even after it was lost
    };
    const { done, rows } = await doWork(queries(), 2, { progress });
    assert.deepEqual([done, rows], [10, 100]);
    assert.equal(log.length, 1, `${log}`);
    assert.match(log[0]!, /^ranges\(\): connect ENOENT \S+: trying again for up to 60 s$/);
    assert.deepEqual(await sql("SELECT DISTINCT v FROM t"), [{ v: 1 }]);
    await poll(async () => (await connections()).length === 1); // ranges() has closed its own connection
  });
}

test("ranges() ends the run when it cannot reconnect in time", async (t) => {
  await createNumbers("t", 100);
  const proxy = await startProxy(t, db.socketPath);
  const road = `${proxy.path}-road`;
  symlinkSync(proxy.path, road);
  const queries = async function* () {
    for await (const { where, values } of ranges({ ...db, socketPath: road }, "t", { size: 10 })) {
      yield { sql: `UPDATE t SET v = v + 1 WHERE ${where}`, values };
      rmSync(road, { force: true });
      proxy.arm(/OFFSET/, "lose");
    }
  };
  const error = await doWork(queries(), 2, { connectTimeoutSeconds: 0.2 }).catch((error) => error);
  assert.equal(error.message, `Cannot connect: connect ENOENT ${road}`);
  assert.equal(error.summary.done, 1); // the first range was found before the loss
});

test("ranges() ends at once and closes its connection when the run is interrupted while it reconnects", async (t) => {
  await createNumbers("t", 100);
  const proxy = await startProxy(t, db.socketPath);
  for (const [what, pattern] of [
    ["for an answer", /OFFSET/],
    ["for a connection", /utf8mb4/],
  ] as const) {
    const drain = new AbortController();
    const open = proxy.arm(pattern, "swallow");
    let ended: Promise<unknown> | undefined;
    const queries = async function* () {
      yield* ranges({ ...db, socketPath: proxy.path }, "t");
    };
    const walk = queries();
    const source = {
      [Symbol.asyncIterator]: () => ({
        next() {
          const next = walk.next();
          ended = next.then(
            () => "goes on",
            (error) => error.message,
          );
          return next;
        },
      }),
    };
    const summary = doWork(source as never, 1, { signal: drain.signal });
    await poll(() => open() === 1);
    drain.abort();
    assert.equal((await summary).done, 0);
    assert.match(`${await ended}`, /interrupted/, what);
  }
  await poll(async () => (await connections()).length === 1);
});

test("ranges() with connection options runs --init-command, also when it reconnects", async (t) => {
  await createNumbers("t", 100);
  const proxy = await startProxy(t, db.socketPath);
  const queries = async function* () {
    let n = 0;
    for await (const { where, values } of ranges({ ...db, socketPath: proxy.path }, "t", {
      size: 10,
      where: "id > @low",
    })) {
      yield { sql: `UPDATE t SET v = v + 1 WHERE ${where}`, values };
      if (++n === 3) proxy.arm(/OFFSET/, "lose");
    }
  };
  const { done, rows } = await doWork(queries(), 1, { initCommands: ["SET @low = 50"] });
  assert.deepEqual([done, rows], [5, 50]);
});

test("ranges() goes on when its connection is killed during the query for a range", async () => {
  await createNumbers("t", 100);
  const holder = await mysql.createConnection(db);
  await holder.query("SELECT GET_LOCK('range', 0)");
  const walk = all("t", { size: 40, where: "id <> 50 OR GET_LOCK('range', 60)" }, db);
  const waiting = async () => (await connections("AND state = 'User lock'"))[0];
  await poll(async () => (await waiting()) !== undefined);
  await sql(`KILL ${(await waiting())!.id}`);
  await holder.query("SELECT RELEASE_LOCK('range')");
  await holder.end();
  assert.deepEqual(
    (await walk).map(({ values }) => values),
    [
      [1, 40],
      [41, 80],
      [81, 100],
    ],
  );
});

test("ranges() accepts names that need quotes, another database, a promise connection, and an index name", async () => {
  await sql(
    "CREATE DATABASE `an``other`; CREATE TABLE `an``other`.`or.der` (`gro``up` INT, `key?` INT NOT NULL, `select` CHAR(9) NOT NULL)",
  );
  await sql(
    "ALTER TABLE `an``other`.`or.der` ADD v INT DEFAULT 0, ADD UNIQUE `nu.ll` (`gro``up`), ADD UNIQUE `by``2` (`key?`, `select`)",
  );
  await sql(
    "INSERT INTO `an``other`.`or.der` (`key?`, `select`) SELECT d, d FROM (SELECT 1 AS d UNION SELECT 2 UNION SELECT 3) d",
  );
  const promised = await mysql.createConnection({ ...db, rowsAsArray: true });
  for (const options of [{}, { index: "by`2" }]) {
    const found = await all("`an``other`.`or.der`", { ...options, size: 2 }, promised);
    assert.deepEqual(
      found.map(({ values }) => values),
      [
        [1, 1, "1", 2, 2, "2"],
        [3, 3, "3", 3, 3, "3"],
      ],
    );
    assert.equal(
      found[0]!.where,
      "(`key?` > ? OR (`key?` = ? AND `select` >= ?)) AND (`key?` < ? OR (`key?` = ? AND `select` <= ?))",
    );
  }
  await promised.end();
});

test("ranges() with `where` yields full ranges, and none if no row matches or the table is empty", async () => {
  await createNumbers("t", 1000);
  assert.deepEqual(await sizes("t", { where: "id % 3 = 0 AND id < 600 OR id = 1 -- ?\n" }), full(200));
  assert.deepEqual(await sql("SELECT SUM(v) AS n, SUM(v <> (id % 3 = 0 AND id < 600 OR id = 1)) AS wrong FROM t"), [
    { n: "200", wrong: "0" },
  ]);
  assert.deepEqual(await all("t", { where: "id < 0" }), []);
  for (const comment of ["-- all", "# all", "/* all */", "-- )"]) {
    assert.deepEqual(await sizes("t", { where: `id <= 20 ${comment}` }), full(20), comment);
  }
  await sql("DELETE FROM t");
  assert.deepEqual(await all("t"), []);
});

test("ranges() estimates the number of ranges long before its end", async () => {
  await createNumbers("t", 3000);
  const shown: Pick<Snapshot, "ended" | "total" | "isAbout">[] = [];
  async function* queries() {
    let n = 0;
    for await (const { where, values } of ranges(db, "t", { size: 10 })) {
      yield { sql: `UPDATE t SET v = v + 1 WHERE ${where}`, values };
      if (++n === 100) await poll(() => shown.at(-1)?.ended === 100);
    }
  }
  const { done } = await doWork(queries(), 2, { progress: { ...silent, update: (snapshot) => shown.push(snapshot) } });
  assert.equal(done, 300);
  const { total, isAbout } = shown.find(({ ended }) => ended === 100)!;
  assert.ok(isAbout && total! >= 290 && total! <= 310, `about ${total}`);
  assert.deepEqual([shown.at(-1)!.total, shown.at(-1)!.isAbout], [300, false]);
});

test("ranges() ends at the key that was the last one at its start, although rows are inserted and deleted", async () => {
  await createNumbers("t", 100);
  let [n, last] = [0, 1000];
  for await (const { where, values } of ranges(connection, "t", { size: 10 })) {
    const changed = await execute(connection, { sql: `UPDATE t SET v = v + 1 WHERE ${where}`, values });
    assert.ok(changed > 0 && changed <= 12, `${changed} rows`);
    n++;
    await sql(`INSERT INTO t VALUES (${-n}, 0), (${++last}, 0)`); // one row before the ranges, and one after the last key
    if (n === 5) await sql("DELETE FROM t WHERE id > 60");
  }
  assert.equal(n, 6);
  assert.deepEqual(await sql("SELECT SUM(v = 1) AS n, SUM(v <> 1) AS wrong FROM t WHERE id BETWEEN 1 AND 60"), [
    { n: "60", wrong: "0" },
  ]);
  assert.deepEqual(await sql("SELECT MAX(v) AS high FROM t WHERE id > 1000"), [{ high: 0 }]);
});

test("ranges() and its queries read an index only once, however many rows have the same first column", async () => {
  const rows = 6000;
  await createNumbers("n", rows);
  await sql("DROP TABLE IF EXISTS t; CREATE TABLE t (a INT, b VARCHAR(9), c INT, v INT, PRIMARY KEY (a, b, c))");
  await sql("INSERT INTO t SELECT id DIV 5900, 'same', id, 0 FROM n; ANALYZE TABLE t");
  const reads = async () => {
    let count = 0;
    await execute(connection, "SHOW SESSION STATUS LIKE 'Handler_read%'", {
      onResult: () => (row) => {
        row.readLengthCodedString("utf8");
        count += Number(row.readLengthCodedString("utf8"));
        return true;
      },
    });
    return count;
  };
  const before = await reads();
  const found = await sizes("t", { size: 100, where: "c > 0" });
  const each = (await reads()) - before;
  assert.equal(found.length, rows / 100);
  assert.ok(each < rows * 3 + found.length * 40, `${each} rows were read by the walk, an UPDATE and a SELECT`);
});

test("ranges() rejects an unsuitable table, connection or option with the reason", async () => {
  await sql(`DROP TABLE IF EXISTS t; CREATE TABLE t (a INT, b INT NOT NULL, c VARCHAR(99) NOT NULL, d TIMESTAMP NOT NULL, e FLOAT NOT NULL,
    UNIQUE n (a), KEY k (b), UNIQUE p (c(3)), UNIQUE d (b, d), UNIQUE e (e))`);
  const refused = async (pattern: RegExp | object, ...given: Parameters<typeof all>) =>
    assert.rejects(all(...given), pattern);
  const need = "^Error: Cannot walk `t` without a unique index that has no NULLs: ";
  for (const what of ["n can have NULL in a", "k is not unique", "p has only the beginning of c"])
    await refused(RegExp(`${need}.*${what}`), "t");
  await refused(RegExp(`${need}d has d, and timestamp cannot be compared exactly by its text$`), "t", { index: "D" });
  await refused(RegExp(`${need}.*e has e, and float cannot be compared exactly by its text`), "t");
  await refused(RegExp(`${need}it has no index "x"$`), "t", { index: "x" });
  await sql("DROP TABLE t; CREATE TABLE t (a INT)");
  await refused(RegExp(`${need}it has none$`), "t");
  await refused({ errno: 1146 }, "missing");
  await refused(/^TypeError: Cannot walk "a\.b\.c": it must be TABLE or DATABASE\.TABLE/, "a.b.c");
  for (const [what, given] of [
    ["a pool", mysql.createPool(db)],
    ["a pool", mysqlOfCallbacks.createPool(db)],
    ["a promise: await it", Promise.resolve(connection)],
    ["a text", "mysql://root:s3cr3t@localhost"],
    ["{}", {}],
    ["null", null],
  ] as const) {
    const message = `Cannot walk t: ranges() takes connection options, or a connection of mysql2, not ${what}`;
    await refused({ name: "TypeError", message }, "t", {}, given as never);
  }
  for (const bad of [0, -1, 1.5, Number.NaN]) {
    await refused(RegExp(`^RangeError: Cannot take ${bad} for size: it must be a positive integer$`), "t", {
      size: bad,
    });
  }
  await refused(/^RangeError: Cannot take -1 for seconds: it must be a positive number$/, "t", { seconds: -1 });
  await assert.rejects(doWork(updates("t"), 1, { shard: { index: 1, count: 2 } }), /Cannot walk a table in a shard: /);
});

test("ranges() with `seconds` adapts the size of ranges to the time of their queries", async () => {
  await createNumbers("t", 1000);
  const workers = 2;
  const grown: number[] = [];
  const rest = await doWork(updates("t", { size: 1, seconds: 60 }, grown), workers, { threads: 1 });
  assert.deepEqual([rest.done, rest.rows], [rest.total, 1000]);
  assert.ok(rest.total < 60, `${grown} rows`);
  const shrunk: number[] = [];
  const slow = updates("t", { size: 100, seconds: 0.02, where: "v + SLEEP(0.001) > 0 AND id <= 700" }, shrunk);
  const { done, total, rows } = await doWork(slow, workers, { threads: 1 });
  assert.deepEqual([done, rows], [total, 700]);
  // Two ranges for each worker are made before the first one has ended. Each row takes more than a millisecond.
  const made = shrunk.slice(0, 2 * workers).filter((rows, index) => index === 0 || rows > 20);
  assert.ok(made.every((rows) => rows === 100) && Math.max(...shrunk.slice(2 * workers)) <= 20, `${shrunk}`);
});

test("ranges() with `seconds` keeps its size if it cannot know the query times: in two runs at once, and outside a run", async () => {
  for (const table of ["t", "u"]) await createNumbers(table, 300);
  const options = { size: 10, seconds: 60 };
  let readers = 0;
  let begin = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  async function* together(table: string): AsyncGenerator<Query> {
    if (++readers === 2) begin();
    await begun;
    for await (const { where, values } of ranges(db, table, options)) {
      yield { sql: `UPDATE ${table} SET v = v + 1 WHERE ${where}`, values };
    }
  }
  const both = await Promise.all(["t", "u"].map((table) => doWork(together(table), 2, { threads: 1 })));
  for (const { done, rows } of both) assert.deepEqual([done, rows], [30, 300]);
  assert.equal((await all("t", options)).length, 30);
});

for (const name of ["checkpoints", "notes"]) {
  test(`doWork() walks the ranges that its option \`${name}\` has, and stores the next ones there`, async () => {
    await createNumbers("t", 30);
    const stored: unknown[] = [
      [[], ["30"]],
      [["1"], ["25"]],
    ];
    const checkpoints: Checkpoints = {
      isBegun: true,
      isShared: false,
      open() {
        let next = 0;
        return async (find) => {
          if (next === stored.length) stored.push(await find());
          return stored[next++];
        };
      },
    };
    const { done, rows } = await doWork(updates("t", { size: 3 }), 1, { [name]: checkpoints });
    assert.deepEqual([done, rows], [3, 30]);
    assert.deepEqual(stored.slice(2), [[["26"], ["28"]], [["29"], ["30"]], null]);
  });
}

async function* updates(table: string, options?: RangesOptions, rows: number[] = []): AsyncGenerator<Query> {
  const walked = await mysql.createConnection(db);
  for await (const { where, values } of ranges(walked, table, options)) {
    const [first, end] = values as [number, number];
    rows.push(end - first + 1);
    yield { sql: `UPDATE ${table} SET v = v + 1 WHERE ${where}`, values };
  }
  await walked.end();
}

type Walked = Parameters<typeof ranges>[0];

/** Returns all connections except that of `sql()`. */
function connections(condition = ""): Promise<{ id: number }[]> {
  return sql(
    `SELECT id AS id FROM information_schema.processlist WHERE user = 'root' AND id <> CONNECTION_ID() ${condition}`,
  );
}

/** Returns the number of rows in each range. A SELECT and a prepared UPDATE must agree on it. */
async function sizes(table: string, options: RangesOptions = {}): Promise<number[]> {
  const found: number[] = [];
  for (const { where, values } of await all(table, { size, ...options })) {
    const selected = await execute(
      connection,
      { sql: `SELECT 1 FROM ${table} WHERE ${where}`, values },
      { onResult: () => () => true },
    );
    const updated = await execute(connection, { sql: `UPDATE ${table} SET v = v + 1 WHERE ${where}`, values });
    assert.equal(selected, updated, `${where} ${values}`);
    found.push(updated);
  }
  return found;
}

async function all(table: string, options?: RangesOptions, walked: Walked = connection): Promise<Range[]> {
  const found: Range[] = [];
  for await (const range of ranges(walked, table, options)) found.push(range);
  return found;
}

function full(rows: number): number[] {
  return upTo(Math.ceil(rows / size), (n) => Math.min(size, rows - size * (n - 1)));
}

function upTo<Item>(count: number, item: (n: number) => Item): Item[] {
  return Array.from({ length: count }, (_, n) => item(n + 1));
}

/** Creates a table with `count` rows, whose `id` counts from 1. */
async function createNumbers(table: string, count: number): Promise<void> {
  await sql(`DROP TABLE IF EXISTS ${table}; CREATE TABLE ${table} (id INT PRIMARY KEY, v INT NOT NULL)`);
  await sql(`INSERT INTO ${table} VALUES ${upTo(count, (n) => `(${n}, 0)`)}`);
}
