/** The summary for a person, and how queries and the server's messages are printed on the terminal. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { goingOn } from "../lib/command/going-on.ts";
import { reportLines } from "../lib/command/report.ts";
import { linesOfLeft } from "../lib/features/joblog/hook.ts";
import { startSandbox } from "../lib/features/sandbox/sandbox.ts";
import type { Failure, Query, Summary } from "../lib/mp.ts";
import { describeFailure } from "../lib/parent/failure.ts";
import { runHere } from "./command.ts";
import { run, viaTsx } from "./run.ts";

const sandbox = await startSandbox({ orders: 0 });
const directory = mkdtempSync(join(tmpdir(), "myscript-report-"));
after(async () => {
  await sandbox.stop();
  rmSync(directory, { recursive: true });
});
const server = ["-S", sandbox.db.socketPath, "-u", "root", "-D", "myscript", "-j1"];

const nothing: Summary = {
  total: 0,
  done: 0,
  failed: 0,
  unknown: 0,
  skipped: 0,
  retries: 0,
  rows: 0,
  seconds: 0.5,
  perSecond: 0,
  latencyMs: { p50: 0, p95: 0, p99: 0, max: 0 },
  workers: 4,
  threads: 2,
  warnings: 0,
  warnedQueries: 0,
  failures: [],
  failureKinds: [],
  earlier: { done: 0, failed: 0, unknown: 0 },
};

test("reportLines() prints counts, rate and durations in three lines if every query is done", () => {
  const latencyMs = { p50: 0.123456, p95: 1.5, p99: 99.96, max: 1234567.8 };
  const counts = {
    total: 1_234_567,
    done: 1_234_567,
    rows: 7_654_321,
    retries: 1000,
    seconds: 100.49,
    perSecond: 12285.5,
  };
  assert.deepEqual(reportLines({ ...nothing, ...counts, latencyMs }), [
    "1,234,567 of 1,234,567 queries done, in 100 s (12,286 a second)",
    "7,654,321 rows, 1,000 retries",
    "latency 0.123 ms median, 1.5 p95, 100 p99, 1,234,568 longest",
  ]);
});

test("reportLines() prints how long the run has waited for a server, and the reason", () => {
  const waited = [
    { seconds: 12.34, reason: "db1:3306: The server is running with the --read-only option" },
    { seconds: 0.04, reason: "connect ECONNREFUSED" },
  ];
  const lines = reportLines({ ...nothing, total: 1, done: 1, waited });
  assert.deepEqual(lines.slice(3), [
    "workers waited 12.3 s for a server: db1:3306: The server is running with the --read-only option",
  ]);
});

test("reportLines() counts the queries that were not done, and gives the reason", () => {
  const counts = { total: 10, done: 1, failed: 2, unknown: 3, skipped: 4, perSecond: 12 };
  const [reason, line] = reportLines({ ...nothing, ...counts, reason: "interrupted" });
  assert.equal(reason, "ended early: interrupted");
  assert.equal(line, "1 of 10 queries done, 2 failed, 3 unknown, 4 skipped, in 0.5 s (12 a second)");
});

test("reportLines() prints a slow rate, and no rate if an earlier run did everything", () => {
  const ended = { total: 3, done: 3, seconds: 40, perSecond: 0.025 };
  assert.equal(
    reportLines({ ...nothing, ...ended, earlier: { done: 2, failed: 0, unknown: 0 } })[0],
    "3 of 3 queries done, in 40 s (0.025 a second)",
  );
  const counts = { total: 4303, failed: 4300, unknown: 3, perSecond: 0 };
  assert.deepEqual(reportLines({ ...nothing, ...counts, earlier: { done: 0, failed: 4300, unknown: 3 } }), [
    "0 of 4,303 queries done, 4,300 failed, 3 unknown, in 0.5 s",
    "of these, 4,300 failed, 3 unknown in an earlier run",
  ]);
});

test("reportLines() says 'at least' if the input was not read to its end", () => {
  const reason = "interrupted; not all queries were read";
  const [, line] = reportLines({ ...nothing, total: 12_792, done: 1596, skipped: 11_196, perSecond: 9, reason });
  assert.equal(line, "1,596 of at least 12,792 queries done, 11,196 skipped, in 0.5 s (9 a second)");
});

test("linesOfLeft() shows the first unknown queries of an earlier run", () => {
  const counts = { total: 3, unknown: 3, earlier: { done: 0, failed: 0, unknown: 3 } };
  const left = [
    { seq: 1, unit: { sql: "DO\n1", at: "a.sql:1" } },
    { seq: 7, unit: "DO 7" },
  ];
  assert.deepEqual(linesOfLeft({ ...nothing, ...counts }, left), [
    "query 1, a.sql:1 unknown",
    "    DO 1",
    "query 7 unknown",
    "    DO 7",
    "and 1 more unknown",
  ]);
});

test("goingOn() says how to go on, if that is possible", () => {
  const log = { record: "job log", flag: "--resume", failed: "--retry-failed", file: "a.log" };
  const unless = " that the ledger does not have";
  const joblog = goingOn({ ...log, unknown: "--retry-unknown" });
  const ledger = goingOn({ record: "ledger", unless });
  const where = "what became of each query is in a.log";
  const look = "what is unknown may have run: look first; the same command";
  const skipped = { ...nothing, total: 1, skipped: 1 };
  const failed = { ...nothing, total: 2, failed: 1, skipped: 1 };
  const unknown = { ...nothing, total: 1, unknown: 1 };
  assert.deepEqual(joblog.nextSteps({ ...nothing, total: 1, done: 1 }), []);
  assert.deepEqual(joblog.nextSteps(skipped), ["to go on: the same command with --resume", where]);
  assert.deepEqual(joblog.nextSteps(failed), ["to go on: the same command with --resume --retry-failed", where]);
  assert.deepEqual(joblog.nextSteps(unknown), [`${look} with --resume --retry-unknown runs those again`, where]);
  assert.deepEqual(ledger.nextSteps(skipped), ["to go on: the same command"]);
  assert.deepEqual(ledger.nextSteps(unknown), [`${look} runs those again that the ledger does not have`]);
  const again = "this works if the script gives the same queries again";
  assert.deepEqual(ledger.nextSteps(skipped, { isFromFiles: false }), ["to go on: the same command", again]);
  assert.deepEqual(ledger.nextSteps({ ...nothing, total: 1, done: 1 }, { isFromFiles: false }), []);
  assert.deepEqual(goingOn({ ...log, unless }).nextSteps(unknown), [
    `${look} with --resume runs those again that the ledger does not have`,
    where,
  ]);
});

test("a run of queries with keys that has failed says that their keys must stay", async () => {
  const { stderr } = await runHere([...server, "--joblog", join(directory, "keys.log")], {
    queries: ["a", "b"].map((key) => ({ sql: "DO none()", key })),
  });
  assert.match(
    stderr,
    /^to go on: .* --retry-failed\nthis works if the script gives what is left again, under the same keys$/m,
  );
});

test("a run that finds everything done says so, and what a new batch needs", async () => {
  const queries: Query[] = ["DO 1", "DO 2"];
  const keyed = ["a", "b"].map((key) => ({ sql: "DO 1", key }));
  for (const [flags, units, line] of [
    [
      ["--joblog", join(directory, "finished.log"), "--resume"],
      queries,
      "job log has all 2; a new batch needs a new job log",
    ],
    [["--ledger", "finished"], queries, "ledger has all 2; a new batch needs a new ledger"],
    [["--ledger", "keys"], keyed, "ledger has all 2; a new batch needs new keys, or a new ledger"],
    [["--ledger", "one"], ["DO 1"], "ledger has it; a new batch needs a new ledger"],
  ] as const) {
    const again = () => runHere([...server, ...flags], { queries: units });
    assert.doesNotMatch((await again()).stderr, /nothing was left/);
    const { status, stderr } = await again();
    assert.match(stderr, new RegExp(`in an earlier run\nnothing was left to run: the ${line}\n$`));
    assert.equal(status, 0);
    async function* broken() {
      yield* units;
      throw new Error("no more");
    }
    assert.doesNotMatch((await runHere([...server, ...flags], { queries: broken() })).stderr, /nothing was left/);
    assert.equal((await runHere([...server, ...flags, "--quiet"], { queries: units })).stderr, "");
  }
});

test("reportLines() shows seq, place, code, number, message and the query of a failure", () => {
  const failures: Failure[] = [
    {
      seq: 7,
      at: "a.sql:3",
      sql: "SELECT 1",
      outcome: "failed",
      code: "ER_X",
      errno: 1146,
      message: "it is not there",
    },
    { seq: 8, sql: "SELECT 2", outcome: "unknown", code: "PROTOCOL_CONNECTION_LOST", message: "it went away" },
    {
      seq: 9,
      sql: "SELECT ?",
      values: ["x"],
      outcome: "unknown",
      code: "ECONNRESET",
      errno: -104,
      message: "read ECONNRESET",
    },
  ];
  const failureKinds = failures.map((first) => ({ count: 1, first, next: [] }));
  assert.deepEqual(reportLines({ ...nothing, failed: 1, unknown: 2, failureKinds }).slice(3), [
    "query 7, a.sql:3 failed: ER_X 1146: it is not there",
    "    SELECT 1",
    "query 8 unknown: PROTOCOL_CONNECTION_LOST: it went away",
    "    SELECT 2",
    "query 9 unknown: ECONNRESET: read ECONNRESET",
    "    SELECT ?",
    "    values: [ 'x' ]",
  ]);
});

test("--json has the values of a failure, and other units of work, as JSON", async () => {
  const values = [
    "it's",
    1.5,
    null,
    true,
    7n,
    new Date(0),
    Buffer.of(1, 255),
    { a: [1] },
    "x".repeat(1000),
    Number.NaN,
  ];
  const { stdout } = await runHere([...server, "--json"], { queries: [{ sql: "DO ?", values }] });
  const [failure] = JSON.parse(stdout).failures;
  const text = `${"x".repeat(200)}… 800 more characters`;
  const json = ["it's", 1.5, null, true, "7", "1970-01-01T00:00:00.000Z", "0x01ff", { a: [1] }, text, "NaN"];
  assert.deepEqual([failure.sql, failure.values, failure.unit], ["DO ?", json, undefined]);
  const unit = { file: "a.txt", ids: new Set([1]) };
  const { sql, ...rest } = describeFailure(unit, { code: "Error", message: "no luck" })!;
  assert.deepEqual(rest, { unit: { file: "a.txt", ids: "Set(1) { 1 }" }, code: "Error", message: "no luck" });
  assert.equal(sql, "{ file: 'a.txt', ids: Set(1) { 1 } }");
});

test("10 of 250 failures are shown, 100 are in the JSON, and all are counted", async () => {
  const input = Array.from({ length: 250 }, (_, n) => `SELECT no_${n + 1};\n`).join("");
  const { status, stdout, stderr } = await runHere([...server, "--json", "-"], { input });
  const { failed, failures } = JSON.parse(stdout);
  assert.deepEqual([failed, failures.length], [250, 100]);
  assert.deepEqual(
    failures.map(({ seq, at }: Failure) => [seq, at]),
    Array.from({ length: 100 }, (_, n) => [n + 1, `stdin:${n + 1}`]),
  );
  const shown = [
    ...stderr.matchAll(/^query (\d+), stdin:\d+ failed: ER_BAD_FIELD_ERROR 1054: .*\n {4}SELECT no_\1$/gm),
  ];
  assert.equal(shown.length, 10);
  assert.match(stderr, /\nand 240 more\b.*\n$/);
  assert.equal(status, 1);
});

test("equal failures are shown once, with their number and the first places", async () => {
  const lines = Array.from({ length: 250 }, (_, n) => `INSERT INTO nowhere VALUES (${n + 1});\n`);
  lines.splice(120, 0, "SELECT no;\n");
  const { stdout, stderr } = await runHere([...server, "--json", "-"], { input: lines.join("") });
  assert.match(
    stderr,
    /\nquery 1, stdin:1 failed: ER_NO_SUCH_TABLE 1146: .*\n {4}INSERT INTO nowhere VALUES \(1\)\n {4}249 more like it: query 2, stdin:2; query 3, stdin:3; query 4, stdin:4; query 5, stdin:5; \.\.\.\nquery 121, stdin:121 failed: ER_BAD_FIELD_ERROR 1054: .*\n {4}SELECT no\n$/,
  );
  const { failureKinds } = JSON.parse(stdout) as Summary;
  assert.deepEqual(
    failureKinds.map(({ count, first, next }) => [count, first.code, next.length]),
    [
      [250, "ER_NO_SUCH_TABLE", 4],
      [1, "ER_BAD_FIELD_ERROR", 0],
    ],
  );
});

test("the command of the job log's page lists every failure of a job log by its last line", async () => {
  const log = join(directory, "all.log");
  const page = readFileSync(new URL("../lib/features/joblog/README.md", import.meta.url), "utf8");
  const command = /^(awk .+) backfill\.log$/m.exec(page)![1]!;
  const input = Array.from({ length: 150 }, (_, n) => `REPLACE INTO later VALUES (${n + 1});\n`).join("");
  await runHere([...server, "--joblog", log, "-"], { input });
  const list = async () => {
    const { stdout } = await run(["-c", `${command} ${log}`], { command: ["sh"] });
    return stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => line.split("\t"));
  };
  const failed = await list();
  assert.equal(failed.length, 150);
  assert.deepEqual(
    [...new Set(failed.map(([, , outcome, , , , , code]) => `${outcome} ${code}`))],
    ["failed ER_NO_SUCH_TABLE"],
  );
  await runHere(
    [
      ...server,
      "--init-command",
      "CREATE TABLE IF NOT EXISTS later (id INT)",
      "--joblog",
      log,
      "--resume",
      "--retry-failed",
      "-",
    ],
    { input },
  );
  assert.deepEqual(await list(), []);
});

test("a long query is cut to its beginning, in one line", async () => {
  const input = `SELECT no,\n\t  'x'${", 'é'".repeat(100_000)}`;
  const { stdout, stderr } = await runHere([...server, "--json", "-"], { input });
  const [{ sql }] = JSON.parse(stdout).failures;
  assert.match(sql, /^SELECT no, 'x', 'é', 'é'/);
  assert.ok(sql.length <= 210, `${sql.length} characters`);
  assert.ok(stderr.includes(`\n    ${sql}\n`));
});

test("no control character of a query or of the server's messages reaches the terminal", async () => {
  // A name that the server quotes in its message, and a text that becomes its message.
  // MariaDB escapes such a name itself, and MySQL does not.
  const evil = "\x1b[31m\x07\x9b2J\x7f\u202e\r";
  const file = join(directory, `evil${evil}.sql`);
  const input = `SELECT \`no${evil}\`, '${evil}'; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a ${evil} b';`;
  writeFileSync(file, input);
  const { status, stdout, stderr } = await runHere([...server, "-q", "--json", file]);
  const shown = "\uFFFD[31m\uFFFD\uFFFD2J\uFFFD\uFFFD\uFFFD";
  assert.ok(stderr.includes(`evil${shown.slice(0, -1)} .sql:1 failed: ER_SIGNAL_EXCEPTION 1644: a `), stderr);
  assert.ok(stderr.includes(`MESSAGE_TEXT = 'a ${shown.slice(0, -1)} b'`), stderr);
  assertClean(stderr);
  assertClean(stdout);
  assert.equal(JSON.parse(stdout).failures[1].at, `${file}:1`, "JSON keeps it, escaped");
  assert.equal(status, 1);
  const missing = await runHere([...server, `${file}\x1b[31m`]);
  assert.match(missing.stderr, /^myscript: Cannot read .*: no such file or directory\n$/);
  assertClean(missing.stderr);
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const pipe = `printf %s ${quoted(input)} | ${[...viaTsx, ...server, "-"].join(" ")}`;
  const terminal = await run([pipe, "/dev/null"], { command: ["script", "-qec"] });
  assert.match(terminal.stdout, /0 of 2 queries done, 2 failed/);
  // The bar itself moves the cursor, but prints no colours.
  assert.doesNotMatch(terminal.stdout, /\x1b\[31m|\x07|\x9b|\x7f|\u202e/);
  const dry = await run([`${pipe} --dry-run`, "/dev/null"], { command: ["script", "-qec"] });
  assert.match(dry.stdout, /^1\tSELECT/m);
  assert.doesNotMatch(dry.stdout, /[\x1b\x07\x9b\x7f\u202e]/);
});

function assertClean(text: string): void {
  assert.doesNotMatch(text.replaceAll("\n", ""), /\p{Cc}/u);
}
