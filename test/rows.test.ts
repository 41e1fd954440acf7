/** Rows as NDJSON: exact values of every type, and a reader that is slow or closes the pipe. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { doWork, type Query, RunError, type Summary } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { poll, type RunOptions, run, start, viaNode } from "./run.ts";
import { startServer, type TestServer } from "./server.ts";
import { inSoak } from "./soak.ts";
import { isWriting, lacks, numbers, target } from "./target.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript-rows-"));
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
console.log(`SEED=${seed} runs the same again`);
let server: TestServer;

before(async () => {
  server = await startServer();
  myglobals.config = { db: { socketPath: server.socketPath, user: "root", database: "myscript" } };
  await server.root.query("SET sql_mode = '', time_zone = '+05:00'");
});

after(async () => {
  await server?.stop();
  rmSync(directory, { recursive: true });
});

test("onRows gets the values of every type as the server prints them", async () => {
  const cases: [type: string, literal: string, json: string][] = [
    ["TINYINT", "-128", "-128"],
    ["BOOLEAN", "TRUE", "1"],
    ["INT UNSIGNED", "4294967295", "4294967295"],
    ["INT(8) ZEROFILL", "42", "42"],
    ["BIGINT", "9007199254740991", "9007199254740991"],
    ["BIGINT", "9007199254740993", '"9007199254740993"'],
    ["BIGINT", "-9223372036854775808", '"-9223372036854775808"'],
    ["BIGINT UNSIGNED", "18446744073709551615", '"18446744073709551615"'],
    ["DECIMAL(40,10)", "123456789012345678901234567890.0123456789", '"123456789012345678901234567890.0123456789"'],
    ["DECIMAL(10,2)", "-1", '"-1.00"'],
    ["FLOAT", "0.1", "0.1"],
    ["DOUBLE", "9459564053.677723", "9459564053.677723"],
    ["DOUBLE", "1.7976931348623157e308", "1.7976931348623157e+308"],
    ["DOUBLE", "-2.2250738585072014e-308", "-2.2250738585072014e-308"],
    ["DATE", "'2024-02-29'", '"2024-02-29"'],
    ["DATE", "'0000-00-00'", '"0000-00-00"'],
    ["DATE", "'2024-00-00'", '"2024-00-00"'],
    ["DATETIME(6)", "'9999-12-31 23:59:59.000001'", '"9999-12-31 23:59:59.000001"'],
    ["DATETIME", "'0000-00-00 00:00:00'", '"0000-00-00 00:00:00"'],
    ["TIMESTAMP(3) NULL", "FROM_UNIXTIME(1.5)", '"1970-01-01 00:00:01.500"'],
    ["TIME", "'-838:59:59'", '"-838:59:59"'],
    ["TIME(6)", "'-00:00:00.000001'", '"-00:00:00.000001"'],
    ["TIME", "'00:00:00'", '"00:00:00"'],
    ["YEAR", "2155", "2155"],
    ["YEAR", "0", "0"],
    ["BLOB", "x'00FF80'", '"AP+A"'],
    ["VARBINARY(9)", "''", '""'],
    ["BIT(10)", "b'1000000001'", '"AgE="'],
    ["BIT(1)", "1", '"AQ=="'],
    // MySQL stores a parsed document, MariaDB the text.
    [
      "JSON",
      `'{"a": 12345678901234567890, "b":[1.10,null]}'`,
      target.isMariaDB
        ? '{"a": 12345678901234567890, "b":[1.10,null]}'
        : '{"a": 12345678901234567890, "b": [1.1, null]}',
    ],
    ["JSON", "'null'", "null"],
    ["JSON", "NULL", "null"],
    ["INT", "NULL", "null"],
    ["BLOB", "NULL", "null"],
    ["DOUBLE", "NULL", "null"],
    ["ENUM('x','ü')", "'ü'", '"ü"'],
    ["SET('a','b')", "'b,a'", '"a,b"'],
    ["SET('a','b')", "''", '""'],
    ["VARCHAR(40) CHARACTER SET utf8mb4", "'𝄞😀é\\n\\t\\0\"\\\\\\u2028'", JSON.stringify('𝄞😀é\n\t\0"\\u2028')],
    ["CHAR(5) CHARACTER SET latin1", "'é'", '"é"'],
    ["VARCHAR(9) CHARACTER SET ucs2", "'é'", '"é"'],
    ["VARCHAR(9)", "''", '""'],
    ["VARCHAR(9)", "'NULL'", '"NULL"'],
    ["LONGTEXT COLLATE utf8mb4_bin", "'[1]'", '"[1]"'],
    ["POINT", "POINT(1, 2.5)", '"AAAAAAEBAAAAAAAAAAAA8D8AAAAAAAAEQA=="'], // SRID, byte order, type, x, y
    ["GEOMETRY", "ST_GeomFromText('POINT(1 2.5)', 3857)", '"EQ8AAAEBAAAAAAAAAAAA8D8AAAAAAAAEQA=="'],
  ];
  if (!lacks("the type UUID")) {
    cases.push(["INET6", "'::1'", '"::1"']);
    cases.push(["UUID", "'123e4567-e89b-12d3-a456-426655440000'", '"123e4567-e89b-12d3-a456-426655440000"']);
  }
  if (!lacks("the type VECTOR")) {
    // MariaDB reports a VECTOR as a VARBINARY.
    const [fromText, json] = target.isMariaDB
      ? ["VEC_FromText", '"zczMPZW/1rMAAIBL"']
      : ["STRING_TO_VECTOR", "[0.1,-1e-7,16777216]"];
    cases.push(["VECTOR(3)", `${fromText}('[0.1, -1e-7, 16777217]')`, json]);
    cases.push(["VECTOR(3)", "NULL", "null"]);
  }
  await server.root.query(`CREATE TABLE types (${cases.map(([type], index) => `c${index} ${type}`)})`);
  await server.root.query(`INSERT INTO types VALUES (${cases.map(([, literal]) => literal)})`);
  // A TIMESTAMP is printed in the session's time zone, which the workers get from the server.
  await server.root.query("SET GLOBAL time_zone = '+00:00'");
  const [whole, ...lines] = await linesOf([
    "SELECT * FROM types",
    ...cases.map((_, index) => `SELECT c${index} AS c FROM types`),
  ]);
  for (const [index, [type, literal, json]] of cases.entries()) {
    assert.equal(lines[index], `{"seq":${index + 2},"row":{"c":${json}}}`, `${type} ${literal}`);
  }
  assert.equal(whole, `{"seq":1,"row":{${cases.map(([, , json], index) => `"c${index}":${json}`)}}}`);
});

test("onRows gets every DOUBLE and FLOAT exactly", async () => {
  const double = fc.double({ noNaN: true, noDefaultInfinity: true });
  const price = fc.tuple(fc.nat(1e9), fc.nat(1e9)).map(([whole, rest]) => whole + rest / 1e9);
  const usual = fc.oneof(double, price).filter((value) => value === 0 || Math.abs(value) > 1e-300);
  const values = fc.sample(usual, { seed, numRuns: 10_000 }).map((value) => value + 0); // not -0, whose sign the server drops
  await server.root.query("CREATE TABLE doubles (id INT PRIMARY KEY AUTO_INCREMENT, d DOUBLE, f FLOAT)");
  await server.root.query("INSERT INTO doubles (d) VALUES ?", [values.map((value) => [value])]);
  await server.root.query("UPDATE doubles SET f = d WHERE ABS(d) BETWEEN 1e-37 AND 1e37");
  const rows = await rowsOf(["SELECT d, CAST(f AS CHAR) AS text, f FROM doubles ORDER BY id"]);
  assert.deepEqual(
    rows.map(({ d }) => d),
    values,
  );
  for (const { f, text } of rows) assert.equal(f, text === null ? null : Number(text));
});

test("onRows gets JSON in one line, or as a string if it is invalid", {
  skip: lacks("JSON as text"),
}, async () => {
  await server.root.query("CREATE TABLE documents (id INT PRIMARY KEY, j JSON)");
  const texts = [
    '{\n  "a": [1,\r\n 2]\n}',
    '"line\\nbreak"',
    "oops",
    "",
    '{"a":01}',
    '"raw\nbreak"',
    "{'a':1}",
    "[1,]",
  ];
  await server.root.query("SET check_constraint_checks = 0");
  await server.root.query("INSERT INTO documents VALUES ?", [texts.map((text, index) => [index, text])]);
  const rows = await rowsOf(["SELECT j FROM documents ORDER BY id"]);
  assert.deepEqual(
    rows.map(({ j }) => j),
    [{ a: [1, 2] }, "line\nbreak", ...texts.slice(2)],
  );
});

test("onRows gets the same values whatever options the connection has, also one from a script's workerInit()", async () => {
  const { db } = myglobals.config;
  const sql = "SELECT 1.50 AS d, 1e0 AS r, DATE '2010-01-02' AS t, 'x' AS s, JSON_ARRAY('é') AS j";
  const expected = '{"seq":1,"row":{"d":"1.50","r":1,"t":"2010-01-02","s":"x","j":["é"]}}';
  const values = { nestTables: true, decimalNumbers: true, typeCast: false, dateStrings: false, jsonStrings: false };
  myglobals.config = { db: { ...db, ...values } };
  assert.deepEqual(await linesOf([sql]), [expected]);
  const script = new URL("./scripts/once.ts", import.meta.url);
  const { rows } = await collect([sql], { workers: 1, script });
  myglobals.config = { db };
  assert.deepEqual(rows, [expected]);
});

test("onRows gets JSON and text whatever the character set of the session's results", async () => {
  const sql = "SELECT JSON_ARRAY(_utf8mb4 X'C3A9') AS j, _utf8mb4 X'C3A9' AS s";
  const { rows } = await collect(["DO 1", "SET NAMES latin1", sql], { workers: 1 });
  assert.deepEqual(rows, ['{"seq":3,"row":{"j":["é"],"s":"é"}}']);
});

test("onRows gets every column, even with equal or unusual names", async () => {
  const [line] = await linesOf(['SELECT 1 AS x, 2 AS x, 3 AS x_2, 4 AS X, 5 AS ``, 6 AS `a"b\\`, 7 AS `2`, 8 AS x']);
  assert.equal(line, '{"seq":1,"row":{"x":1,"x_2":2,"x_2_2":3,"X":4,"":5,"a\\"b\\\\":6,"2":7,"x_3":8}}');
});

test("onRows gets the rows of SHOW, EXPLAIN, RETURNING, CALL and VALUES, and of no other statement", async () => {
  await server.root.query("CREATE TABLE returned (id INT PRIMARY KEY AUTO_INCREMENT, v INT)");
  await server.root.query(
    "CREATE PROCEDURE twice (n INT) BEGIN SELECT n AS a; INSERT INTO returned (v) VALUES (n); SELECT n AS b, 'x' AS c; SELECT 1 FROM DUAL WHERE 0; END",
  );
  const returning = lacks("INSERT … RETURNING") ? "" : " RETURNING id, v * 2 AS w";
  const values = target.isMariaDB ? "VALUES (1, 'a'), (2, 'b')" : "SELECT 1, 'a' UNION ALL SELECT 2, 'b'";
  const lines = await linesOf([
    "SHOW TABLES LIKE 'returned'",
    `INSERT INTO returned (v) VALUES (10), (20)${returning}`,
    "UPDATE returned SET v = v + 1",
    `DELETE FROM returned WHERE v = 11${returning}`,
    "CALL twice(7)",
    values,
    "SELECT 1 FROM DUAL WHERE 0",
    "EXPLAIN SELECT 1",
  ]);
  const returned = [
    '{"seq":2,"row":{"id":1,"w":20}}',
    '{"seq":2,"row":{"id":2,"w":40}}',
    '{"seq":4,"row":{"id":1,"w":22}}',
  ];
  assert.deepEqual(lines.slice(0, -1), [
    '{"seq":1,"row":{"Tables_in_myscript (returned)":"returned"}}',
    ...(returning ? returned : []),
    '{"seq":5,"row":{"a":7}}',
    '{"seq":5,"row":{"b":7,"c":"x"}}',
    '{"seq":6,"row":{"1":1,"a":"a"}}',
    '{"seq":6,"row":{"1":2,"a":"b"}}',
  ]);
  assert.equal(JSON.parse(lines.at(-1)!).seq, 8);
});

test("onRows gets the rows of { sql, values }", async () => {
  const sql = "SELECT ? AS a, ? AS b, ? AS c, HEX(?) AS d";
  const [line] = await linesOf([{ sql, values: [1.5, "it's \\ ?", null, Buffer.from([0, 39, 255])] }]);
  assert.equal(line, `{"seq":1,"row":{"a":1.5,"b":"it's \\\\ ?","c":null,"d":"0027FF"}}`);
  // The values have the same effect as in a prepared statement.
  const limited = { sql: "SELECT v FROM (SELECT '1' AS v UNION ALL SELECT 2 UNION ALL SELECT ?) AS t", values: ["3"] };
  const strings = { sql: `${limited.sql} ORDER BY v LIMIT ?, ?`, values: ["3", "1", "2"] };
  const offset = { sql: `${limited.sql} WHERE v <> ? ORDER BY v LIMIT ? OFFSET ?`, values: ["3", "1", "1", "1"] };
  const zero = { sql: "SELECT ? AS z, 1 / 3 = ? AS third", values: [-0, 1 / 3] };
  assert.deepEqual(
    await rowsOf([limited, strings, offset]),
    [1, 2, 3, 2, 3, 3].map((v) => ({ v: `${v}` })),
  );
  assert.deepEqual((await linesOf([zero])).length, 1);
});

test("onRows gets whole lines, every row once, under any number of workers", async () => {
  const queries = Array.from(
    { length: 200 },
    (_, n) => `SELECT seq, REPEAT('é', ${n}) AS t FROM ${numbers(n + 1)} ORDER BY seq`,
  );
  for (const options of [{ workers: 8 }, { workers: 3, batch: 16 }]) {
    const { rows, summary } = await collect(queries, options);
    assert.equal(summary.done, queries.length);
    assert.equal(summary.rows, rows.length);
    const next = Array(queries.length + 1).fill(1);
    for (const { seq, row } of rows.map((line) => JSON.parse(line))) {
      assert.equal(row.seq, next[seq]++, "the rows of one query come in their order");
      assert.equal(row.t.length, seq - 1);
    }
    assert.deepEqual(
      next.slice(1),
      queries.map((_, n) => n + 2),
    );
  }
});

test("onRows that waits makes the queries of all workers of a thread wait", async () => {
  let held = 0;
  let most = 0;
  const waiting: (() => void)[] = [];
  const timer = setInterval(() => waiting.shift()?.(), 1); // accepts one chunk after the other
  const onLines = async (lines: Uint8Array) => {
    held += lines.length;
    most = Math.max(most, held);
    await new Promise<void>((resolve) => waiting.push(resolve));
    held -= lines.length;
  };
  try {
    const queries = Array<string>(24).fill(`SELECT seq, REPEAT('x', 1000) AS t FROM ${numbers(2000)}`);
    const { summary, rows } = await collect(queries, { workers: 24, threads: 1, onLines });
    assert.equal(rows.length, 24 * 2000);
    assert.equal(summary.done, 24);
    assert.ok(most < 8_000_000, `${most} of 48,000,000 bytes were on the way`);
  } finally {
    clearInterval(timer);
  }
});

test("onRows that fails ends the run with its error", async () => {
  const running = doWork(["SELECT 1", "SELECT 2"], 1, {
    onRows: async () => {
      throw new Error("no more room");
    },
  });
  await assert.rejects(running, (error) => error instanceof RunError && /no more room/.test(error.message));
});

test("a query that fails after its first rows has failed, and is not retried", async () => {
  const sql = `SELECT seq, IF(seq = 30000, (SELECT 1 UNION SELECT seq), 0) AS x FROM ${numbers(40_000)}`;
  const { rows, summary } = await collect([sql, "SELECT 1 AS one"], { workers: 1 });
  const { done, failed, retries, failures } = summary;
  assert.deepEqual([done, failed, retries, failures[0]!.code], [1, 1, 0, "ER_SUBQUERY_NO_1_ROW"]);
  assert.equal(rows.at(-1), '{"seq":2,"row":{"one":1}}');
});

test("--rows keeps memory flat while its reader pauses, and outputs millions of rows", {
  skip: inSoak,
}, async () => {
  const small = await readSlowly(200_000);
  const large = await readSlowly(5_000_000);
  assert.ok(large.peakMb < small.peakMb + 80, `${large.peakMb} MB, and ${small.peakMb} MB for 200,000 rows`);

  async function readSlowly(rows: number): Promise<{ peakMb: number }> {
    const args = ["-S", server.socketPath, "-u", "root", "-D", "myscript", "-j1", "--rows", "-"];
    const input = `SELECT seq, REPEAT('x', 50) AS t FROM ${numbers(rows)}`;
    const { child, ended, printed } = start(args, { input, unread: true });
    try {
      // The server waits, so no buffer takes the rows.
      let waits = 0;
      await poll(async () => {
        const [list] = await server.root.query(
          "SELECT state FROM information_schema.processlist WHERE info LIKE '%seq_1_to%' AND id <> CONNECTION_ID()",
        );
        waits = isWriting.test((list as { state: string }[])[0]?.state ?? "") ? waits + 1 : 0;
        return waits >= 20;
      });
      let peakKb = 0;
      let count = 0;
      let sum = 0;
      let rest = "";
      const [before, after] = ['{"seq":1,"row":{"seq":', `,"t":"${"x".repeat(50)}"}}`];
      for await (const chunk of child.stdout.setEncoding("latin1")) {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop()!;
        for (const line of lines) {
          assert.ok(line.startsWith(before) && line.endsWith(after), line);
          sum += Number(line.slice(before.length, -after.length));
        }
        count += lines.length;
        peakKb = Math.max(peakKb, peakOf(child.pid!));
      }
      const { status, stderr } = { ...(await ended), ...printed };
      assert.deepEqual([count, sum, rest], [rows, (rows * (rows + 1)) / 2, ""]);
      assert.match(stderr, /^1 of 1 queries done/m);
      assert.doesNotMatch(stderr, /Warning/);
      assert.equal(status, 0);
      return { peakMb: Math.round(peakKb / 1024) };
    } finally {
      child.kill("SIGKILL");
    }
  }
});

test("--rows ends when its reader closes the pipe, and reports an outcome for every query", async () => {
  const file = join(directory, "many.sql");
  writeFileSync(file, `SELECT seq, REPEAT('x', 1000) FROM ${numbers(200)} ORDER BY seq;\n`.repeat(5000));
  const command = ["sh", "-c", '{ "$@"; echo "status $?" >&2; } | head -n 1', "sh", ...viaNode];
  const { stdout, stderr } = await run(
    ["-S", server.socketPath, "-u", "root", "-D", "myscript", "--rows", "--json", file],
    { command },
  );
  assert.match(stdout, /^{"seq":\d,"row":{"seq":1,[^\n]*\n$/);
  const counts = /^([\d,]+) of (?:at least )?([\d,]+) queries done, ([\d,]+) skipped/m.exec(stderr)!;
  const [done, total, skipped] = counts.slice(1).map((count) => Number(count.replace(",", "")));
  assert.equal(done! + skipped!, total);
  assert.match(stderr, /^ended early: the reader of stdout wants no more\b.*$/m);
  assert.doesNotMatch(stderr, /myscript:/);
  assert.match(stderr, /^status 1\n$/m);
});

test("--rows and --json on a full disk is not a success", async () => {
  const full = async (...args: string[]) => {
    const command = ["sh", "-c", '"$@" >/dev/full', "sh", ...viaNode];
    const options: RunOptions = { command, input: "SELECT 1" };
    return run(["-S", server.socketPath, "-u", "root", "-j1", ...args, "-"], options);
  };
  for (const flag of ["--rows", "--json"]) {
    const { status, stderr } = await full(flag);
    assert.match(stderr, /^myscript: Cannot write to stdout: ENOSPC: no space left on device/m);
    assert.equal(status, 1);
  }
});

test("--rows with a job log outputs only those rows again that its reader may not have read", async () => {
  const file = join(directory, "lost.sql");
  const rowsOf = 1500; // each of 1 kB
  writeFileSync(file, `SELECT seq, REPEAT('x', 1000) FROM ${numbers(rowsOf)};\n`.repeat(6));
  const joblog = join(directory, "lost.log");
  const args = ["-S", server.socketPath, "-u", "root", "-D", "myscript", "-j1", "--joblog", joblog, "--rows", file];
  const piped = (reader: string) => ["sh", "-c", `{ "$@"; echo "status $?" >&2; } | ${reader}`, "sh", ...viaNode];

  // The reader ends in the third query. By then, the first query's rows have left the pipe, and the second query's have not.
  const first = await run(args, { command: piped("head -c 3900000 | wc -l") });
  assert.match(first.stderr, /^1 of (at least )?6 queries done, [23] unknown, [23] skipped/m);
  assert.match(first.stderr, /^query 2 unknown: ROWS_LOST: [^\n]*\n {4}SELECT seq, REPEAT/m);
  assert.match(first.stderr, /^what is unknown may have run: look first; .* --resume --retry-unknown/m);
  assert.match(first.stderr, /^status 3$/m);
  const again = await run([...args, "--resume", "--retry-unknown"]);
  assert.deepEqual(countOf(again.stdout), { 2: rowsOf, 3: rowsOf, 4: rowsOf, 5: rowsOf, 6: rowsOf });
  assert.equal(again.status, 0);

  // Without a job log, a reader that ends early loses nothing. On a full disk, queries whose rows were written stay done.
  const last = join(directory, "last.sql");
  writeFileSync(last, `SELECT 1 AS n; SELECT seq, REPEAT('x', 1000) FROM ${numbers(rowsOf)};`);
  const withoutLog = args
    .map((arg) => (arg === file ? last : arg))
    .filter((arg) => arg !== "--joblog" && arg !== joblog);
  const enough = await run(withoutLog, { command: piped("head -n 1") });
  assert.match(enough.stderr, /^2 of 2 queries done[\s\S]*^status 0$/m);
  const [log, out] = [join(directory, "full.log"), join(directory, "full.ndjson")];
  const full = ["sh", "-c", `ulimit -f 1000; trap "" XFSZ; exec "$@" >${out}`, "sh", ...viaNode];
  const cut = await run([...withoutLog, "--joblog", log], { command: full });
  assert.match(cut.stderr, /^myscript: Cannot write to stdout: /m);
  assert.equal(cut.status, 3);
  assert.deepEqual(outcomesIn(log), { 1: "done", 2: "unknown" });

  // A query in the ledger is not run again.
  const ledger = await run([...withoutLog, "--ledger", "lost_rows"], { command: piped("head -n 1") });
  assert.match(ledger.stderr, /^myscript: The rows of 2 queries may not have been read, and are not given again$/m);
  assert.match(ledger.stderr, /^2 of 2 queries done[\s\S]*^status 1$/m);
});

/** Returns the number of rows of each query. */
function countOf(lines: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [, seq] of lines.matchAll(/^\{"seq":(\d+)/gm)) counts[seq!] = (counts[seq!] ?? 0) + 1;
  return counts;
}

/** Returns the last outcome of each query in a job log. */
function outcomesIn(path: string): Record<string, string> {
  const lines = readFileSync(path, "utf8").matchAll(/^(\d+)\t\w+\t(\w+)/gm);
  return Object.fromEntries([...lines].map(([, seq, outcome]) => [seq, outcome]));
}

interface Collect {
  workers?: number;
  threads?: number;
  batch?: number;
  script?: URL;
  onLines?: (lines: Uint8Array) => Promise<void>;
}

async function collect(queries: Query[], { onLines, workers = 4, ...options }: Collect = {}) {
  const rows: string[] = [];
  const summary: Summary = await doWork(queries, workers, {
    ...options,
    onRows: (lines) => {
      const text = Buffer.from(lines).toString();
      assert.ok(text.endsWith("}}\n"));
      rows.push(...text.slice(0, -1).split("\n"));
      return onLines?.(lines);
    },
  });
  return { rows, summary };
}

async function linesOf(queries: Query[]): Promise<string[]> {
  const { rows, summary } = await collect(queries, { workers: 1 });
  assert.deepEqual(summary.failures, []);
  return rows;
}

async function rowsOf(queries: Query[]): Promise<Record<string, unknown>[]> {
  return (await linesOf(queries)).map((line) => JSON.parse(line).row);
}

/** Returns the peak memory of a process in KiB, or 0 if it has ended. */
function peakOf(pid: number): number {
  try {
    return Number(/VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

test("onRows gets the same values in every sql_mode", async () => {
  const values = ["a\\b", "it's", "\\' ), ('injected') -- ", '\0\n\t\x1a"', "é𝄞", '{"a":"\\\\"}'];
  for (const mode of ["NO_BACKSLASH_ESCAPES", "ANSI_QUOTES", ""]) {
    await server.root.query("SET GLOBAL sql_mode = ?", [mode]);
    const { rows } = await collect(
      values.map((value) => ({ sql: "SELECT ? AS v", values: [value] })),
      { workers: 1 },
    );
    assert.deepEqual(
      rows.map((line) => JSON.parse(line).row.v),
      values,
      mode,
    );
  }
});
