/** Queries printed as an SQL file, which can be read back. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { UsageError } from "../lib/command/errors.ts";
import { toJsonLine } from "../lib/features/joblog/hook.ts";
import { header, lineOf, releasedLine } from "../lib/features/joblog/journal-lines.ts";
import { openFiles } from "../lib/features/sql-files/files.ts";
import { type FileQuery, Splitter } from "../lib/features/sql-files/splitter.ts";
import { toSqlFile } from "../lib/features/sql-files/sql-file.ts";
import { doWork } from "../lib/mp.ts";
import { execute } from "../lib/mysql/execute.ts";
import type { Snapshot } from "../lib/parent/figures.ts";
import { hashOf } from "../lib/shared/hash.ts";
import { runHere } from "./command.ts";
import { useDatabase } from "./database.ts";
import { scaled } from "./soak.ts";
import { silent } from "./watch.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript-sql-file-"));
after(() => rmSync(directory, { recursive: true }));
const database = await useDatabase();

test("toSqlFile() ends each query with a delimiter that it does not contain, and names its number", () => {
  const body = "CREATE PROCEDURE p() BEGIN DO 1; DO 2; END";
  const cases: [unit: unknown, file: string][] = [
    ["DO 1", "-- query 7\nDO 1;\n"],
    [{ sql: "DO 1", at: "a\nb.csv:3" }, "-- query 7, a b.csv:3\nDO 1;\n"],
    ["SELECT ';',\n  \"it's;\"", "-- query 7\nSELECT ';',\n  \"it's;\";\n"],
    ["DO 1 -- last", "-- query 7\nDO 1 -- last\n;\n"],
    ["/* first */ DO 1", "-- query 7\n/* first */ DO 1;\n"],
    [body, `-- query 7\nDELIMITER //\n${body}\n//\nDELIMITER ;\n`],
    [`${body} // 2`, `-- query 7\nDELIMITER $$\n${body} // 2\n$$\nDELIMITER ;\n`],
    [{ sql: "DO ?, '?', ?", values: ["O'Hara;\n", null] }, "-- query 7\nDO 'O''Hara;\n', '?', NULL;\n"],
    [{ sql: "DO ?, ?", values: [1] }, "-- query 7\nDO 1, ?;\n"],
  ];
  for (const [unit, file] of cases) assert.equal(toSqlFile(7, unit).toString(), file);
  const latin1 = Buffer.from("DO 'caf\xE9'", "latin1");
  assert.equal(toSqlFile(7, { sql: latin1 }).toString("latin1"), "-- query 7\nDO 'caf\xE9';\n");
});

test("toSqlFile() refuses a query that no file can contain", () => {
  for (const unit of ["", "DO 'a", "DO '\0'", "DO 'a\r\nb'", "source a.sql", { file: 1 }, 7, null]) {
    assert.throws(() => toSqlFile(7, unit), {
      constructor: UsageError,
      message: /^Cannot print (?:query|unit) 7, as SQL: /,
    });
  }
  const unset = { sql: "DO ?", values: [undefined] };
  assert.throws(() => toSqlFile(7, unset), { message: /^Cannot print query 7, as SQL: Value 1 of 1 is undefined/ });
});

test("toSqlFile() is read back as the same queries, whatever they contain", () => {
  const word = fc.constantFrom(
    "DO 1",
    "'a",
    "'",
    '"',
    "`",
    ";",
    "--",
    " ",
    "\n",
    "/*",
    "*/",
    "#",
    "\\",
    "//",
    "$$",
    "é",
  );
  const text = fc.array(word, { minLength: 1, maxLength: 9 }).map((words) => `DO ${words.join("")}`);
  let printed = 0;
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 4 }), (texts) => {
      const kept: string[] = [];
      const files: Buffer[] = [];
      for (const [index, text] of texts.entries()) {
        try {
          files.push(toSqlFile(index + 1, text));
          kept.push(text.trimEnd());
        } catch (error) {
          assert.ok(error instanceof UsageError);
        }
      }
      printed += kept.length;
      // Only a server knows whether it has dollar quotes, so a query with a dollar is not read back here.
      if (kept.some((text) => text.includes("$"))) return;
      const splitter = new Splitter("left.sql");
      const queries: FileQuery[] = [];
      splitter.split(Buffer.concat(files), queries);
      splitter.end(queries);
      assert.deepEqual(
        queries.map(({ sql }) => sql),
        kept,
      );
    }),
    { numRuns: scaled(2000, 400) },
  );
  assert.ok(printed > scaled(1000, 200), `${printed} were printed`);
});

test("toSqlFile() writes values that have the same effect in every sql_mode as in a prepared statement", async () => {
  const mysql = await import("mysql2");
  const connection = mysql.createConnection(database.db);
  const values = [
    "O'Hara",
    'a "b"',
    "C:\\dir\n",
    "é\t\x01",
    1.5,
    12345678901234567890n,
    true,
    Buffer.from([0, 39, 92, 255]),
  ];
  await execute(connection, "CREATE TABLE printed (n INT, v VARBINARY(99), at VARCHAR(60))");
  const insert = { sql: `INSERT INTO printed VALUES ${values.map((_, n) => `(${n}, ?, @@sql_mode)`)}`, values };
  const modes = ["", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES"];
  for (const mode of modes) {
    await execute(connection, `SET sql_mode = '${mode}'`);
    await execute(connection, insert);
    await execute(connection, toSqlFile(1, insert).toString().replace(/;\n$/, ""));
  }
  connection.destroy();
  assert.deepEqual(
    await database.sql(
      "SELECT COUNT(*) AS n, COUNT(DISTINCT n, v) AS different, COUNT(DISTINCT at) AS modes FROM printed",
    ),
    [{ n: values.length * modes.length * 2, different: values.length, modes: modes.length }],
  );
});

test("openFiles() estimates the number of queries in the files long before their end", async () => {
  const file = join(directory, "large.sql");
  writeFileSync(file, "DO 1;\n".repeat(60_000));
  const { queries } = await openFiles([file], {}, () => {});
  const end = new AbortController();
  const shown: Snapshot[] = [];
  const update = (snapshot: Snapshot) => {
    shown.push(snapshot);
    if (snapshot.ended === 10) end.abort();
  };
  await doWork(queries, 2, { gates: [{ limit: () => 10 }], progress: { ...silent, update }, signal: end.signal });
  const { total, isAbout } = shown.find(({ ended }) => ended === 10)!;
  assert.ok(isAbout && total! > 30_000 && total! < 70_000, `about ${total}`);
});

test("--dry-run with --resume prints the remaining queries as an SQL file, and does not change the job log", async () => {
  const log = join(directory, "left.log");
  const texts = ["USE shop", "DO 1", "DO 2", "DO 3", "DO 4", "DO 5", "DO 6"];
  const past = ["done", "done", "failed", "unknown"] as const; // the fifth was released when the run was killed
  const lines = past.map((outcome, index) => lineOf({ seq: index + 1, outcome }, hashOf(texts[index])));
  writeFileSync(log, `${header}${releasedLine(5, hashOf(texts[4]), "")}${lines.join("")}6\tcut`);
  const before = readFileSync(log, "utf8");
  const input = `${texts.join(";\n")};\n`;
  const left = async (...flags: string[]) => {
    const { status, stdout, stderr } = await runHere(["--dry-run", "--joblog", log, ...flags, "-"], { input });
    assert.deepEqual([status, stderr], [0, ""]);
    return [...stdout.matchAll(/^-- query (\d), stdin:\1\n(.*);$/gm)].map(([, , sql]) => sql);
  };
  assert.deepEqual(await left("--resume"), ["USE shop", "DO 5", "DO 6"]);
  assert.deepEqual(await left("--resume", "--retry-failed"), ["USE shop", "DO 2", "DO 5", "DO 6"]);
  assert.deepEqual(await left("--resume", "--retry-unknown"), ["USE shop", "DO 3", "DO 4", "DO 5", "DO 6"]);
  assert.deepEqual(await left("--resume", "--idempotent", "--retry-failed"), [
    "USE shop",
    "DO 2",
    "DO 3",
    ...texts.slice(4),
  ]);
  assert.deepEqual(await runHere(["--dry-run", "--joblog", log, "-"], { input: "DO 1" }), {
    status: 0,
    stdout: "1\tDO 1\n",
    stderr: "",
  });
  const refusals: [flags: string[], input: string, message: RegExp][] = [
    [["--joblog", log, "--shard", "1/2"], input, /^myscript: Cannot resume .*: it was written without --shard\n$/],
    [
      ["--joblog", log],
      input.replace("DO 1", "DO 7"),
      /^myscript: Cannot resume .*: query 2, stdin:\d is not the one in the log: give it the same input in the same order/,
    ],
    [["--joblog", log], texts.slice(0, 3).join(";"), /^myscript: The input has changed: it ends with query 3/],
    [["--joblog", join(directory, "none")], input, /^myscript: Cannot use .*none: no such file or directory\n$/],
  ];
  for (const [flags, input, message] of refusals) {
    const { status, stderr } = await runHere(["--dry-run", "--resume", ...flags, "-"], { input });
    assert.match(stderr.replace(/^\S+(?=: )/, "myscript"), message);
    assert.equal(status, 2);
  }
  assert.equal(readFileSync(log, "utf8"), before);
});

test("--dry-run with --resume prints the remaining units of a workerDo() as NDJSON, also texts", async () => {
  const { socketPath, user, database: name } = database.db;
  const log = join(directory, "units.log");
  const data = { list: [Buffer.from("ab"), new Float32Array(1)], when: new Date(0), map: new Map([[1, new Set([2])]]) };
  const queries = [7, { name: "a", size: 5n, ...data }, "lib/a.ts", 8]; // this workerDo() returns a number, and fails for the others
  const options = { script: new URL("./scripts/careless.ts", import.meta.url), queries };
  const args = ["-S", socketPath, "-u", user, "-D", name, "--joblog", log];
  const { status, stderr } = await runHere(args, options);
  assert.equal(status, 1);
  assert.match(stderr, /^2 of 4 units done, 2 failed, .*$/m);
  assert.match(stderr, /^what became of each unit is in /m);
  const left = await runHere([...args, "--resume", "--retry-failed", "--dry-run"], options);
  const unit = '{"name":"a","size":"5","list":["YWI=","AAAAAA=="],"when":"1970-01-01T00:00:00.000Z","map":[[1,[2]]]}';
  assert.deepEqual(left, {
    status: 0,
    stdout: `{"seq":2,"unit":${unit}}\n{"seq":3,"unit":"lib/a.ts"}\n`,
    stderr: "",
  });
  const changed = await runHere([...args, "--resume", "--dry-run"], { ...options, queries: ["a text", ...queries] });
  assert.match(changed.stderr, /: unit 1 is not the one in the log: give it the same input in the same order/);
  const own: { self?: unknown } = {};
  own.self = own;
  assert.throws(() => toJsonLine(7, own), {
    message: "Cannot print unit 7, as JSON: Converting circular structure to JSON",
  });
});
