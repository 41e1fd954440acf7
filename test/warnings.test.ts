/** Warnings of the server: counted in each way of sending, and shown with their text if the server still has it. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { doWork, type Query, type WorkOptions } from "../lib/mp.ts";
import { runHere } from "./command.ts";
import { status, useDatabase } from "./database.ts";
import { target } from "./target.ts";

const database = await useDatabase(["--local-infile=1"]);
const { sql, db } = database;
const directory = mkdtempSync(join(tmpdir(), "myscript-warnings-"));
after(() => rmSync(directory, { recursive: true }));
const at = ["-S", db.socketPath, "-u", "root", "-D", "myscript"];
beforeEach(() => sql("DROP TABLE IF EXISTS short, kept; CREATE TABLE short (id INT PRIMARY KEY, v VARCHAR(3))"));

/** Queries of which every third has one warning, and every ninth two. */
const inserts = Array.from({ length: 90 }, (_, id): Query => {
  const rows =
    id % 9 === 0 ? `(${id}, 'too long'), (${id + 1000}, 'too long')` : `(${id}, '${id % 3 ? "ok" : "too long"}')`;
  return `INSERT IGNORE INTO short VALUES ${rows}`;
});
const truncated = { level: "Warning", code: 1265, message: "Data truncated for column 'v' at row 1" };
const withValues = (query: Query, id: number): Query => ({
  sql: "INSERT IGNORE INTO short VALUES (?, ?)",
  values: [id, /long/.test(String(query)) ? "too long" : "ok"],
});

for (const [way, options, keeps] of [
  ["one by one", {}, true],
  ["in batches", { batch: 8 }, false],
  ["with a ledger", { ledger: "kept" }, target.isMariaDB],
  ["with a ledger and in batches", { ledger: "kept", batch: 8 }, false],
  ["and whose rows are wanted", { onRows() {} }, true],
] as [string, WorkOptions, boolean][]) {
  test(`doWork() counts the warnings of queries that run ${way}`, async () => {
    const summary = await doWork(inserts, 4, options);
    assert.deepEqual([summary.done, summary.warnings, summary.warnedQueries], [90, 40, 30]);
    const { firstWarned = [] } = summary;
    assert.equal(firstWarned.length, 10);
    for (const { seq, sql, warnings, messages } of firstWarned) {
      assert.equal(sql, inserts[seq - 1]);
      assert.equal(warnings, (seq - 1) % 9 === 0 ? 2 : 1);
      if (messages?.length || keeps) assert.deepEqual(messages?.[0], truncated);
    }
  });
}

test("doWork() counts the warnings of queries with values, in each way", async () => {
  for (const options of [{}, { batch: 8 }, { ledger: "kept" }] as WorkOptions[]) {
    await sql("TRUNCATE short");
    const { done, warnings, warnedQueries } = await doWork(inserts.map(withValues), 2, options);
    assert.deepEqual([done, warnings, warnedQueries], [90, 30, 30]);
  }
});

test("warnings of a SELECT, of a query of several statements, and notes count, with their levels", async () => {
  const queries = [
    "SELECT CAST('12x' AS SIGNED), 1 / 2",
    "INSERT IGNORE INTO short VALUES (1, 'too long'); INSERT IGNORE INTO short VALUES (2, 'too long'), (3, 'too long')",
    "INSERT IGNORE INTO short VALUES (4, 'too long'); SELECT COUNT(*) FROM short",
    "DROP TABLE IF EXISTS not_there",
    "DO 0",
  ];
  const { warnings, warnedQueries, firstWarned } = await doWork(queries, 1);
  assert.deepEqual([warnings, warnedQueries], [6, 4]);
  assert.deepEqual(
    firstWarned!.map(({ seq, warnings, messages }) => [seq, warnings, messages?.[0]?.level, messages?.length]),
    [
      [1, 1, "Warning", 1],
      [2, 3, "Warning", 2],
      [3, 1, undefined, 0],
      [4, 1, "Note", 1],
    ],
  );
});

test("a query that is rolled back or refused has no warnings", async () => {
  const summary = await doWork(["BEGIN", inserts[0]!, "ROLLBACK", "no sql"], 1);
  assert.deepEqual([summary.warnings, summary.warnedQueries], [0, 0]);
});

test("LOAD DATA reports truncated and skipped rows in the summary, in --json and in the job log, with exit status 0", async () => {
  const [csv, file, log] = ["rows.tsv", "load.sql", "load.joblog"].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(csv, "1\tok\n1\tbis\n2\ttoo long\n");
  writeFileSync(file, `DO 0;\nLOAD DATA LOCAL INFILE '${csv}' INTO TABLE short;\n`);
  const { status, stdout, stderr } = await runHere([...at, "--local-infile", "--joblog", log, "--json", file]);
  assert.equal(status, 0, stderr);
  const { warnings, warnedQueries, firstWarned } = JSON.parse(stdout);
  assert.deepEqual([warnings, warnedQueries], [2, 1]);
  const [{ seq, at: place, info, messages }] = firstWarned;
  assert.deepEqual([seq, place], [2, `${file}:2`]);
  assert.match(info, /^Records: 3 +Deleted: 0 +Skipped: 1 +Warnings: 2$/);
  assert.deepEqual(
    messages.map(({ code }: { code: number }) => code),
    [1062, 1265],
  );
  assert.match(stderr, /^2 warnings in 1 query$/m);
  assert.match(
    stderr,
    /^query 2, .*load\.sql:2: 2 warnings: Warning 1062: Duplicate entry .* \(Records: 3 Deleted: 0 Skipped: 1 Warnings: 2\)$/m,
  );
  assert.match(readFileSync(log, "utf8"), /^2\t[\da-f]{16}\tdone\t.*\tWARNINGS\t2 warnings\tLOAD DATA/m);
  const again = await runHere([...at, "--local-infile", "--joblog", log, "--resume", "--json", file]);
  assert.equal(JSON.parse(again.stdout).earlier.done, 2);
  const quiet = await runHere([...at, "--quiet", "-"], { input: "INSERT IGNORE INTO short VALUES (5, 'too long')" });
  assert.match(quiet.stderr, /1 warning in 1 query/);
  const note = await runHere([...at, "--quiet", "-"], { input: "DROP TABLE IF EXISTS not_there" });
  assert.equal(note.stderr, "");
});

test("--max-warnings starts no more queries after that number, and does not count notes that are switched off", async () => {
  const input = "INSERT IGNORE INTO short VALUES (1, 'too long');"
    .repeat(3)
    .replace(/1(?=,)/g, () => String(Math.random()).slice(2, 9));
  const args = [...at, "-j", "1", "--max-warnings", "2", "--json"];
  const { status, stdout, stderr } = await runHere([...args, "-"], { input });
  assert.equal(status, 1);
  assert.deepEqual([JSON.parse(stdout).done, JSON.parse(stdout).skipped], [2, 1]);
  assert.match(stderr, /ended early: too many warnings: 2/);
  const notes = await runHere([...args, "--init-command", "SET sql_notes=0", "-"], {
    input: "DROP TABLE IF EXISTS not_there;".repeat(3),
  });
  assert.equal(notes.status, 0, notes.stderr);
});

test("reading a warning's text does not change the state for the next query, and happens only after a warning", async () => {
  await doWork(["DO 0", "DO 0"], 1);
  const before = await status(database, "Com_show_warnings");
  await doWork(Array(20).fill("DO 0"), 2);
  assert.equal(await status(database, "Com_show_warnings"), before);
  await sql("CREATE TABLE kept (n INT)");
  const rows = "INSERT IGNORE INTO short VALUES (1, 'too long'), (2, 'a')";
  const { done, firstWarned } = await doWork([rows, "INSERT INTO kept SELECT ROW_COUNT()"], 1);
  assert.equal(done, 2);
  assert.deepEqual(await sql("SELECT n FROM kept"), [{ n: 2 }]);
  assert.equal(firstWarned![0]!.messages, undefined);
  const count = "INSERT INTO kept SELECT @@warning_count";
  const latin1 = await doWork(["SET NAMES latin1", "INSERT IGNORE INTO short VALUES (3, 'too long')", count], 1);
  assert.deepEqual(latin1.firstWarned![0]!.messages, [truncated]);
  assert.deepEqual(await sql("SELECT n FROM kept"), [{ n: 2 }, { n: target.isMariaDB ? 0 : 1 }]); // an INSERT of MariaDB clears it first
});
