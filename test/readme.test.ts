/** What the README shows is so. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { runHere } from "./command.ts";
import { root, run } from "./run.ts";
import { startServer, type TestServer } from "./server.ts";
import { numbers } from "./target.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript-readme-"));
const readme = readFileSync(join(root, "README.md"), "utf8");
const script = readFileSync(join(root, "myscript.ts"), "utf8");
let server: TestServer;

before(async () => {
  const tsx = join(directory, "node_modules/.bin/tsx");
  mkdirSync(dirname(tsx), { recursive: true });
  const tell = `printf '%s\\0' "$@" > "$TOLD/$$"\n`;
  writeFileSync(tsx, `#!/bin/sh\n${tell}`, { mode: 0o755 });
  writeFileSync(join(dirname(tsx), "node"), `#!/bin/sh\nshift 2 # --import tsx\n${tell}`, { mode: 0o755 });
  process.chdir(directory); // the README's commands name files of their folder
  server = await startServer({ tls: true }); // without it, MySQL 9.7 and its clients take no password over TCP
  await server.root.query("CREATE USER app IDENTIFIED BY 's3cr3t'");
  await server.root.query("GRANT ALL ON *.* TO app");
  await server.root.query("CREATE DATABASE shop");
});

after(async () => {
  process.chdir(root);
  await server?.stop();
  rmSync(directory, { recursive: true });
});

test("the README shows what the script does, and has 400 lines at the most", () => {
  const bare = (text: string) => text.replace(/ *\/\/.*$/gm, "").trim();
  const core = blocks("ts")[0]!.trim().split("\n").map(bare);
  for (const line of core) assert.ok(script.includes(line), line);
  assert.ok(readme.split("\n").length <= 400);
  for (const [, path] of readme.matchAll(/\]\(((?:lib|test|myscript)[^)]*)\)/g))
    assert.ok(existsSync(join(root, path!)), path);
});

test("the command lines of the README work", async () => {
  await server.root.query("CREATE TABLE shop.orders (id INT PRIMARY KEY, v INT)");
  writeFileSync(
    join(directory, "backfill.sql"),
    "REPLACE INTO orders VALUES (1, 1);\nREPLACE INTO orders VALUES (2, 2);\n",
  );
  writeFileSync(join(directory, "tenants.sql"), "SELECT id FROM orders WHERE id = 1;\n");
  const dump =
    "DROP TABLE IF EXISTS dumped; CREATE TABLE dumped (id INT); LOCK TABLES dumped WRITE; INSERT INTO dumped VALUES (1);";
  const lines = blocks("sh")
    .flatMap((block) =>
      block
        .trimEnd()
        .replace(/\\\n */g, "")
        .split("\n"),
    )
    .filter((line) => /npx tsx/.test(line) && !/left\.sql/.test(line)); // of another test
  assert.ok(lines.length >= 8);
  const printed: string[] = [];
  for (const line of lines) {
    const starts = await startsOf(line.replace(/^(?:mysqldump shop \| )?npx tsx/, "tsx"));
    assert.equal(starts.length, 1, line);
    const here = starts[0]!.map((word) => (/^db\d$/.test(word) ? "127.0.0.1" : word));
    if (here.includes("-h")) here.unshift("-P", `${server.port}`, ...(here.includes("-u") ? [] : ["-u", "app"]));
    const { status, stdout, stderr } = await runHere(here, { env: { MYSQL_PWD: "s3cr3t" }, input: dump });
    assert.equal(status, 0, `${line}\n${stderr}`);
    printed.push(stdout);
  }
  assert.ok(printed.includes('{"seq":1,"row":{"id":1}}\n'));
  const [rows] = await server.root.query(
    "SELECT (SELECT COUNT(*) FROM shop.orders) + (SELECT COUNT(*) FROM shop.dumped) AS n",
  );
  assert.deepEqual(rows, [{ n: 3 }]);
});

test("the README's commands for several machines run each query in one of the shards", async () => {
  const queries = Array.from({ length: 30 }, (_, n) => `UPDATE parts SET v = v + 1 WHERE id = ${n + 1};`);
  writeFileSync("backfill.sql", queries.join("\n"));
  const host = `127.0.0.1:${server.port},localhost:${server.port}`;
  const [parallel, slurm] = ["parallel -S", "#SBATCH"].map(
    (text) => blocks("sh").find((block) => block.includes(text))!,
  );
  const kubernetes = /args:\n *- >-\n(.*?)\n *env:/s.exec(blocks("yaml")[0]!)![1]!.replace(/\s+/g, " ");
  // Of a busy process, tsx makes a SIGKILL of the SIGTERM that a supervisor sends.
  for (const supervised of [slurm!, kubernetes]) assert.match(supervised, /^ *exec node --import tsx myscript\.ts /m);
  const all = [1, 2, 3];
  const ways: [command: string, environments: NodeJS.ProcessEnv[]][] = [
    [slurm!, all.map((id) => ({ SLURM_ARRAY_TASK_ID: `${id}`, SLURM_ARRAY_TASK_COUNT: "3" }))],
    [kubernetes, all.map((id) => ({ JOB_COMPLETION_INDEX: `${id - 1}` }))],
  ];
  const { status } = await run(["-c", "command -v parallel"], { command: ["sh"] });
  if (status === 0) ways.push([parallel!.replace(/-S \S+ --workdir \S+/, "--will-cite"), [{}]]);
  for (const [command, environments] of ways) {
    await server.root.query("DROP TABLE IF EXISTS shop.backfill_ledger"); // one batch, one table
    await server.root.query(
      `DROP TABLE IF EXISTS shop.parts; CREATE TABLE shop.parts (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(30, "shop")}`,
    );
    const starts = (await Promise.all(environments.map((environment) => startsOf(command, environment)))).flat();
    assert.equal(starts.length, 3, command);
    const running = starts.map((args) =>
      runHere(
        args.map((word) => (word === "db1,db2,db3" ? host : word)),
        { env: { MYSQL_PWD: "s3cr3t" } },
      ),
    );
    for (const { status, stderr } of await Promise.all(running)) assert.equal(status, 0, stderr);
    const [rows] = await server.root.query("SELECT v, COUNT(*) AS n FROM shop.parts GROUP BY v");
    assert.deepEqual(rows, [{ v: 1, n: 30 }], command);
  }
});

test("a failed row of the README's CSV file is told with its place and values, and can be corrected and run", async () => {
  await server.root.query("CREATE TABLE shop.people (id INT PRIMARY KEY, name VARCHAR(20), email VARCHAR(20))");
  const told = blocks("").find((block) => block.includes("people.csv:889"))!;
  const [, id, name, email] = /\[ '(\d+)', "(.*)", '(.*)' \]/.exec(told)!;
  const rows = Array.from({ length: 1000 }, (_, n) => (n === 887 ? `${id},${name},${email}` : `${n + 1},n${n},e${n}`));
  const words = "people.csv";
  writeFileSync(join(copyFolder(), words), ["id,name,email", ...rows].join("\n"));
  const first = await runOwn("people.ts", words, "--joblog", "people.log", "--json");
  assert.ok(first.stderr.includes(`\n${told}`), first.stderr);
  assert.deepEqual([first.status, JSON.parse(first.stdout).failures[0].values], [1, [id, name, email]]);
  const log = readFileSync(join(directory, "copy/people.log"), "utf8");
  assert.match(log, /^888\t.*\tfailed\t.* -- people\.csv:889: \[ '888', "Zoë O'Hara-Zweibrücken", /m);
  const [left, corrected] = blocks("sh")
    .find((block) => block.includes("left.sql"))!
    .trim()
    .split("\n");
  const flags = left!.split(" > ")[0]!.replace(/^.* -D shop /, "");
  const { stdout, status } = await runOwn("people.ts", words, ...flags.split(" "));
  assert.equal(
    stdout,
    `-- query 888, people.csv:889
INSERT INTO people VALUES ('888', 'Zoë O''Hara-Zweibrücken', 'zoe@example.com') ON DUPLICATE KEY UPDATE name = VALUES(name), email = VALUES(email);
`,
  );
  assert.equal(status, 0);
  assert.match(corrected!, /^npx tsx myscript\.ts .* left\.sql$/);
  writeFileSync(join(directory, "copy/left.sql"), stdout.replace("-Zweibrücken", ""));
  const again = await runCopied("myscript.ts", "left.sql");
  assert.equal(again.status, 0, again.stderr);
  const [found] = await server.root.query(
    "SELECT COUNT(*) AS n, MAX(IF(id = 888, name, NULL)) AS name FROM shop.people",
  );
  assert.deepEqual(found, [{ n: 1000, name: "Zoë O'Hara" }]);
});

test("the purge of the README deletes what is old, and nothing else", async () => {
  await server.root.query(
    `CREATE TABLE shop.events (id INT PRIMARY KEY) SELECT seq AS id, NOW() - INTERVAL IF(seq % 3, 2, 0) YEAR AS at FROM ${numbers(9000)}`,
  );
  const { status, stderr } = await runOwn("purge.ts", "INTERVAL 1 YEAR", "--max-load", "Threads_running=100");
  assert.equal(status, 0, stderr);
  assert.match(stderr, /^(\d+) of \1 queries done, .*\n6,000 rows, /m);
  const [rows] = await server.root.query("SELECT COUNT(*) AS n, SUM(id % 3) AS wrong FROM shop.events");
  assert.deepEqual(rows, [{ n: 3000, wrong: "0" }]);
  const again = await runOwn("purge.ts", "INTERVAL 1 YEAR");
  assert.match(again.stderr, /^0 of 0 queries done/m);
});

test("the hashes of the README come from a worker's own work; files on the command line are refused", async () => {
  await server.root.query("CREATE TABLE shop.hashes (path VARCHAR(99) PRIMARY KEY, hash CHAR(64))");
  const { status, stderr } = await runOwn("hashes.ts", "function workerDo");
  assert.equal(status, 0, stderr);
  const content = readFileSync(join(root, "lib/mp.ts"));
  const [rows] = await server.root.query("SELECT hash FROM shop.hashes WHERE path = 'lib/mp.ts'");
  assert.deepEqual(rows, [{ hash: createHash("sha256").update(content).digest("hex") }]);
  await server.root.query("TRUNCATE shop.hashes");
  writeFileSync(join(directory, "copy/one.sql"), "DO 1");
  const refused = await runOwn("hashes.ts", "function workerDo", "one.sql");
  assert.match(refused.stderr, /\nhashes: Cannot run one\.sql: hashes\.ts does not use command\.queries\n$/);
  assert.equal(refused.status, 2);
  assert.deepEqual((await server.root.query("SELECT * FROM shop.hashes"))[0], []);
});

test("another project's code runs doWork() of the README, and has its types", async () => {
  const project = join(directory, "project");
  cpSync(join(root, "lib"), join(project, "lib"), { recursive: true });
  mkdirSync(join(project, "node_modules/@types"), { recursive: true });
  for (const name of ["mysql2", "tsx", "esbuild", "@types/node", "@types/cli-progress"]) {
    symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name));
  }
  const compilerOptions = { module: "nodenext", target: "es2023", types: ["node"], strict: true, skipLibCheck: true };
  const options = { ...compilerOptions, noEmit: true, allowImportingTsExtensions: true };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["main.ts"] }));
  writeFileSync(join(project, "package.json"), JSON.stringify({ type: "module" }));
  const code = blocks("ts").find((block) => block.includes("DELETE FROM customers"))!;
  const wrong = "// @ts-expect-error: a number is no query\nvoid (() => doWork([7]));\n";
  writeFileSync(
    join(project, "main.ts"),
    wrong + code.replace('host: "db1", user: "app"', `socketPath: "${server.socketPath}", user: "root"`),
  );
  await server.root.query("CREATE TABLE IF NOT EXISTS shop.orders (id INT)");
  await server.root.query("CREATE TABLE shop.customers (id INT)");
  const { status, stdout, stderr } = await run(["main.ts"], inFolder(project, "tsx"));
  assert.equal(stderr, "");
  assert.deepEqual([stdout, status], ["2 []\n", 0]);
  const types = await run(["-p", "."], inFolder(project, "tsc"));
  assert.deepEqual([types.stdout, types.status], ["", 0]);
});

/**
 * What a shell starts tsx with when it runs a part of the README: the words behind the script's name, a list for each start. The
 * shell finds another program as tsx, which tells them.
 */
async function startsOf(text: string, environment: NodeJS.ProcessEnv = {}): Promise<string[][]> {
  const told = mkdtempSync(join(directory, "starts-"));
  const ended = await run([text], {
    command: ["sh", "-ec", 'eval "$0"'],
    folder: directory,
    env: { ...environment, PATH: `${join(directory, "node_modules/.bin")}:${process.env.PATH}`, TOLD: told },
  });
  assert.equal(ended.status, 0, ended.stderr);
  return readdirSync(told).map((name) => {
    const [started, ...words] = readFileSync(join(told, name), "utf8").split("\0");
    assert.equal(started, "myscript.ts");
    return words.slice(0, -1);
  });
}

/** Runs the script of the README that has these words in a copy of the folder. */
function runOwn(name: string, words: string, ...args: string[]) {
  const block = blocks("ts").find((candidate) => candidate.includes(words))!;
  writeFileSync(join(copyFolder(), name), block.includes("runCommand(main)") ? block : withQueries(block));
  return runCopied(name, ...args);
}

/** myscript.ts with another `buildQueries()`, and what that imports. */
function withQueries(block: string): string {
  const imports = (block.match(/^import .*\n/gm) ?? []).filter((line) => !script.includes(line));
  const functions = block.replace(/^import .*\n/gm, "").trim();
  return script
    .replace(/^\/\*\* Yields[\s\S]*?^}$/m, () => functions)
    .replace(/^import /m, () => `${imports.join("")}import `);
}

/** Runs a script of the copy of the folder. */
function runCopied(name: string, ...args: string[]) {
  const where = ["-S", server.socketPath, "-u", "root", "-D", "shop"];
  return run([name, ...where, ...args], inFolder(copyFolder(), "tsx"));
}

function copyFolder(): string {
  const copy = join(directory, "copy");
  if (existsSync(copy)) return copy;
  mkdirSync(copy);
  for (const name of ["package.json", "myscript.ts"]) cpSync(join(root, name), join(copy, name));
  for (const name of ["lib", "node_modules"]) symlinkSync(join(root, name), join(copy, name));
  return copy;
}

/** A program of the folder's packages, started in a folder. */
function inFolder(folder: string, program: string): { command: string[] } {
  return { command: ["sh", "-ec", `cd "$0"; exec ${root}node_modules/.bin/${program} "$@"`, folder] };
}

/** The code blocks of a language. */
function blocks(language: string): string[] {
  return [...readme.matchAll(/^```(\w*)\n(.*?)^```$/gms)].flatMap(([, tag, text]) => (tag === language ? [text!] : []));
}
