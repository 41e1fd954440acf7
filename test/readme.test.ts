/** Runs the command lines and the whole scripts of all pages as they stand. */
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { Command } from "../lib/command/setup.ts";
import type { Summary } from "../lib/mp.ts";
import { runHere } from "./command.ts";
import { blocksOf, blockWith, commandLines, examplesOf, pages, Shell, type Start } from "./pages.ts";
import { type Ended, poll, root, run } from "./run.ts";
import { startServer, type TestServer } from "./server.ts";
import { numbers, target } from "./target.ts";

type Main = (command: Command) => Promise<Summary>;

const directory = mkdtempSync(join(tmpdir(), "myscript-readme-"));
const examples = examplesOf();
const shell = new Shell(directory);
let server: TestServer;

before(async () => {
  process.chdir(directory); // the command lines name files in the working directory
  server = await startServer({ tls: true });
  await server.root.query("CREATE USER app IDENTIFIED BY 's3cr3t'; GRANT ALL ON *.* TO app; CREATE DATABASE shop");
  if (!target.isMariaDB) await server.root.query("SET GLOBAL local_infile = ON");
  writeFileSync("ca.pem", readFileSync(server.ca));
});

after(async () => {
  process.chdir(root);
  await server?.stop();
  rmSync(directory, { recursive: true });
});

test("the front page has at most 160 lines of 120 columns, and the script as it is", () => {
  const lines = pages.get("README.md")!.trimEnd().split("\n");
  assert.ok(lines.length <= 160, `${lines.length} lines`);
  for (const [index, line] of lines.entries())
    assert.ok(line.length <= 120, `line ${index + 1}: ${line.length} columns`);
  const statuses = lines.flatMap((line) => /^\| `\w+` .* \| ([\d, ]+?) +\| /.exec(line)?.[1] ?? []);
  assert.deepEqual(statuses, ["0", "1", "3", "1, 130"]);
  assert.match(lines.join("\n"), / Exit status 2: wrong usage, no server; 130: Ctrl-C\.$/m);
  const script = readFileSync(join(root, "myscript.ts"), "utf8");
  assert.equal(blocksOf("ts")[0]!.text, script.replace(/^(?:#!|\/\*\*).*\n/gm, ""));
});

test("every link of the pages leads to a file, and to a heading if it names one", () => {
  for (const [page, text] of pages) {
    const folder = page === "test/copy/README.md" ? "." : dirname(page);
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      const [file, heading] = link!.split("#") as [string, string?];
      if (/^\w+:/.test(link!)) continue;
      const path = file === "" ? page : join(folder, file);
      assert.ok(existsSync(join(root, path)), `${page}: ${link}`);
      const headings = (pages.get(path) ?? "").match(/^#+ .*/gm) ?? [];
      if (heading !== undefined) assert.ok(headings.map(anchorOf).includes(heading), `${page}: ${link}`);
    }
  }
});

/** Command lines that other tests run. */
const elsewhere = [
  /^npm ci && npm run mariadb && npm start$/,
  /^npm (?:install|run check|test)\b/, // in a copy
  /^\.\/myscript\.ts +#|--help/,
  /^awk /,
  /^(?:parallel|#!|#SBATCH|exec) ?/,
  /^npx tsx (?!myscript)|left\.sql$/, // with a whole script
];

test("the command lines of the pages work", async () => {
  await server.root.query("CREATE TABLE shop.orders (id INT PRIMARY KEY); CREATE TABLE shop.t (id INT)");
  const update = "REPLACE INTO orders VALUES (1);\nREPLACE INTO orders VALUES (2);\n";
  writeFileSync("report.sql", "SELECT id FROM orders WHERE id = 1;\n");
  writeFileSync("backfill.sql", update);
  writeFileSync("load.sql", "LOAD DATA LOCAL INFILE 'part1.csv' INTO TABLE t;\n");
  writeFileSync("part1.csv", "7\n");
  const dump = "CREATE TABLE dumped (id INT); LOCK TABLES dumped WRITE; INSERT INTO dumped VALUES (1);";
  const lines = commandLines().filter((line) => !elsewhere.some((pattern) => pattern.test(line)));
  assert.ok(lines.length >= 25, `${lines.length} lines`);
  const printed: string[] = [];
  for (const [index, starts] of (await shell.startsOf(lines)).entries()) {
    const [start, ...others] = starts;
    assert.ok(start && others.length === 0, lines[index]);
    const { status, stdout, stderr } = await runStart(start, { input: dump });
    assert.equal(status, 0, `${lines[index]}\n${stderr}`);
    printed.push(stdout);
  }
  assert.equal(printed.filter((text) => text === '{"seq":1,"row":{"id":1}}\n').length, 2);
  const counts = ["orders", "dumped", "t"].map((table) => `(SELECT COUNT(*) FROM shop.${table})`);
  assert.deepEqual((await server.root.query(`SELECT ${counts.join(" + ")} AS n`))[0], [{ n: 4 }]);
});

test("the commands for several machines run each query in one of the shards", async () => {
  const queries = Array.from({ length: 30 }, (_, n) => `UPDATE parts SET v = v + 1 WHERE id = ${n + 1};`);
  writeFileSync("backfill.sql", queries.join("\n"));
  const [parallel, slurm] = [blockWith("parallel -S"), blockWith("#SBATCH")];
  const kubernetes = /args:\n *- >-\n(.*?)\n *env:/s.exec(blockWith("kind: Job"))![1]!.replace(/\s+/g, " ");
  // Not with tsx, which turns a supervisor's SIGTERM into SIGKILL if the script is busy.
  for (const supervised of [slurm, kubernetes]) assert.match(supervised, /^ *exec node --import tsx myscript\.ts /m);
  const all = [1, 2, 3];
  const ways: [command: string, environments: NodeJS.ProcessEnv[]][] = [
    [slurm, all.map((id) => ({ SLURM_ARRAY_TASK_ID: `${id}`, SLURM_ARRAY_TASK_COUNT: "3" }))],
    [kubernetes, all.map((id) => ({ JOB_COMPLETION_INDEX: `${id - 1}` }))],
  ];
  const { status } = await run(["-c", "command -v parallel"], { command: ["sh"] });
  if (status === 0) ways.push([parallel.replace(/-S \S+ --workdir \S+/, "--will-cite"), [{}]]);
  for (const [command, environments] of ways) {
    await server.root.query("DROP TABLE IF EXISTS shop.backfill_ledger, shop.parts"); // a new batch needs a new ledger
    await server.root.query(
      `CREATE TABLE shop.parts (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(30, "shop")}`,
    );
    const starts = await Promise.all(environments.map((environment) => shell.startsOf([command], environment)));
    assert.equal(starts.flat(2).length, 3, command);
    for (const { status, stderr } of await Promise.all(starts.flat(2).map((start) => runStart(start)))) {
      assert.equal(status, 0, stderr);
    }
    const [rows] = await server.root.query("SELECT v, COUNT(*) AS n FROM shop.parts GROUP BY v");
    assert.deepEqual(rows, [{ v: 1, n: 30 }], command);
  }
});

test("tenants.ts runs a query for each tenant, and reports which one has failed", async () => {
  const names = [1, 2, 17].map((n) => `tenant_${n}`);
  await server.root.query(`CREATE TABLE shop.tenants SELECT '${names.join("' AS name UNION ALL SELECT '")}' AS name`);
  for (const name of names) await server.root.query(`CREATE DATABASE ${name}`);
  for (const name of names.slice(0, 2)) {
    await server.root.query(
      `CREATE TABLE ${name}.sessions SELECT NOW() + INTERVAL 1 DAY AS expires UNION ALL SELECT NOW() - INTERVAL 1 DAY`,
    );
  }
  const { status, stderr } = await runExample("tenants.ts");
  assert.match(stderr, /^2 of 3 queries done, 1 failed, .*\n2 rows, /m);
  assert.match(stderr, /^query \d, tenant_17 failed: ER_NO_SUCH_TABLE 1146: /m);
  assert.ok(pages.get("README.md")!.includes("`query 17, tenant_17 failed: ER_NO_SUCH_TABLE ...`"));
  assert.equal(status, 1);
});

test("geocode.ts calls an HTTP server for each row, retries after 429, and refuses files", async (t) => {
  const asked: string[] = [];
  const api = createServer(({ url }, response) => {
    const address = new URL(url!, "http://localhost").searchParams.get("q")!;
    asked.push(address);
    const isFirst = asked.indexOf(address) === asked.length - 1;
    response.statusCode = address === "nowhere" ? 404 : address === "Łódź 7 & 8" && isFirst ? 429 : 200;
    response.end(JSON.stringify({ lat: address.length, lon: 2 }));
  });
  await new Promise<void>((resolve) => api.listen(0, "127.0.0.1", resolve));
  t.after(() => api.close());
  process.env.GEO_API = `http://127.0.0.1:${(api.address() as AddressInfo).port}/search`;
  t.after(() => delete process.env.GEO_API);
  await server.root.query("CREATE TABLE shop.customers (id INT PRIMARY KEY, address TEXT, lat DOUBLE, lon DOUBLE)");
  await server.root.query(
    "INSERT INTO shop.customers (id, address) VALUES (1, 'Łódź 7 & 8'), (2, 'nowhere'), (3, 'here')",
  );
  const { status, stderr } = await runExample("geocode.ts");
  assert.match(stderr, /^2 of 3 units done, 1 failed, .*\n2 rows, 1 retry$/m);
  assert.match(stderr, /^unit 2 failed: Error: HTTP 404 \(.*geocode\.ts:\d+\)$/m);
  assert.deepEqual([status, asked.toSorted()], [1, ["here", "nowhere", "Łódź 7 & 8", "Łódź 7 & 8"].toSorted()]);
  const [rows] = await server.root.query("SELECT id, lat FROM shop.customers ORDER BY id");
  assert.deepEqual(rows, [
    { id: 1, lat: 10 },
    { id: 2, lat: null },
    { id: 3, lat: 4 },
  ]);
  writeFileSync("one.sql", "DO 1");
  const refused = await runExample("geocode.ts", "one.sql");
  assert.match(refused.stderr, /\ngeocode: Cannot run one\.sql: geocode\.ts does not use command\.queries\n$/);
  assert.deepEqual([refused.status, asked.length], [2, 4]);
});

test("archive.ts moves each old row once, and retries a range that gets a new row meanwhile", async () => {
  const events = "(id INT PRIMARY KEY, at DATETIME)";
  await server.root.query(`CREATE TABLE shop.events ${events}; CREATE TABLE shop.old_events ${events}`);
  await server.root.query(
    `INSERT INTO shop.events SELECT seq, IF(seq % 3, '2024-12-31', '2025-01-01') FROM ${numbers(3000)}`,
  );
  await server.root.query("DELETE FROM shop.events WHERE id = 5");
  // Between INSERT and DELETE, the trigger waits until the test has inserted an old row into the range.
  await server.root.query(
    `CREATE TRIGGER shop.held AFTER INSERT ON shop.old_events FOR EACH ROW
      IF NEW.id = 7 THEN DO GET_LOCK('held', 60), RELEASE_LOCK('held'); END IF`,
  );
  await server.root.query("DO GET_LOCK('held', 0)");
  const level = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
  const running = runExample("archive.ts", "--init-command", level);
  const waiting = "SELECT 1 FROM information_schema.processlist WHERE state = 'User lock'";
  await poll(async () => ((await server.root.query(waiting))[0] as unknown[]).length > 0);
  await server.root.query("INSERT INTO shop.events VALUES (5, '2024-12-31'); DO RELEASE_LOCK('held')");
  const { status, stderr } = await running;
  assert.match(stderr, /^4 of 4 units done, .*\n2,000 rows, 1 retry$/m);
  assert.equal(status, 0);
  const [left] = await server.root.query(
    `SELECT (SELECT COUNT(*) FROM shop.events WHERE at < '2025-01-01') AS old, (SELECT COUNT(*) FROM shop.events) AS n,
      (SELECT COUNT(DISTINCT id) FROM shop.old_events) AS moved`,
  );
  assert.deepEqual(left, [{ old: 0, n: 1000, moved: 2000 }]);
  assert.match((await runExample("archive.ts")).stderr, /^0 of 0 units done/m);
});

test("purge.ts deletes old rows only", async () => {
  await server.root.query(
    `DROP TABLE IF EXISTS shop.events; CREATE TABLE shop.events (id INT PRIMARY KEY)
      SELECT seq AS id, NOW() - INTERVAL IF(seq % 3, 2, 0) YEAR AS at FROM ${numbers(9000)}`,
  );
  const { status, stderr } = await runExample("purge.ts");
  assert.equal(status, 0, stderr);
  assert.match(stderr, /^(\d+) of \1 queries done, .*\n6,000 rows, /m);
  const [rows] = await server.root.query("SELECT COUNT(*) AS n, SUM(id % 3) AS wrong FROM shop.events");
  assert.deepEqual(rows, [{ n: 3000, wrong: "0" }]);
  assert.match((await runExample("purge.ts")).stderr, /^0 of 0 queries done/m);
});

test("prices.ts gives its workers a value and shared memory", async () => {
  await server.root.query("CREATE TABLE shop.prices (id INT PRIMARY KEY, region CHAR(2))");
  await server.root.query("INSERT INTO shop.prices (id) VALUES (1), (2), (3)");
  const { status, stdout, stderr } = await runExample("prices.ts");
  assert.deepEqual([stdout, status], ["3 prices were seen\n", 0], stderr);
  assert.deepEqual((await server.root.query("SELECT DISTINCT region FROM shop.prices"))[0], [{ region: "eu" }]);
});

test("a failed row of people.ts is reported with its place and values, and can be corrected and run", async () => {
  await server.root.query("CREATE TABLE shop.people (id INT PRIMARY KEY, name VARCHAR(20), email VARCHAR(20))");
  const told = blockWith("people.csv:889 failed");
  const [, id, name, email] = /\[ '(\d+)', "(.*)", '(.*)' \]/.exec(told)!;
  const rows = Array.from({ length: 1000 }, (_, n) => (n === 887 ? `${id},${name},${email}` : `${n + 1},n${n},e${n}`));
  writeFileSync("people.csv", ["id,name,email", ...rows].join("\n"));
  const first = await runExample("people.ts", "--json");
  assert.ok(first.stderr.includes(`\n${told}`), first.stderr);
  assert.deepEqual([first.status, JSON.parse(first.stdout).failures[0].values], [1, [id, name, email]]);
  const log = readFileSync("people.log", "utf8");
  assert.match(log, /^888\t.*\tfailed\t.* -- people\.csv:889: \[ '888', "Zoë O'Hara-Zweibrücken", /m);
  const lines = [blockWith("people.log --resume --retry-failed\n"), blockWith("> left.sql")]
    .join("")
    .trim()
    .split("\n");
  const [[again], [left], [separate]] = (await shell.startsOf(lines)) as [[Start], [Start], [Start]];
  const { stdout, stderr, status } = await runStart(left);
  assert.equal(
    stdout || stderr,
    `-- query 888, people.csv:889
INSERT INTO people VALUES ('888', 'Zoë O''Hara-Zweibrücken', 'zoe@example.com') ON DUPLICATE KEY UPDATE name = VALUES(name), email = VALUES(email);
`,
  );
  assert.equal(status, 0);
  writeFileSync("left.sql", stdout.replace("-Zweibrücken", ""));
  assert.equal((await runStart(separate)).status, 0);
  writeFileSync("people.csv", readFileSync("people.csv", "utf8").replace("-Zweibrücken", ""));
  const corrected = await runStart(again);
  assert.match(corrected.stderr, /^1,000 of 1,000 queries done, /m);
  assert.equal(corrected.status, 0);
  const [found] = await server.root.query(
    "SELECT COUNT(*) AS n, MAX(IF(id = 888, name, NULL)) AS name FROM shop.people",
  );
  assert.deepEqual(found, [{ n: 1000, name: "Zoë O'Hara" }]);
});

test("doWork() runs in another project, and the pages' scripts and feature compile there", async () => {
  const project = join(directory, "project");
  cpSync(join(root, "lib"), join(project, "lib"), { recursive: true });
  mkdirSync(join(project, "node_modules/@types"), { recursive: true });
  for (const name of ["mysql2", "tsx", "esbuild", "@types/node", "@types/cli-progress"]) {
    symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name));
  }
  const compilerOptions = { module: "nodenext", target: "es2023", types: ["node"], strict: true, skipLibCheck: true };
  const options = { ...compilerOptions, noEmit: true, allowImportingTsExtensions: true };
  const write = (path: string, text: string) => writeFileSync(join(project, path), text);
  const [feature, entry] = [blockWith("export const feature = defineFeature"), blockWith('{ name: "run-for"')];
  const index = readFileSync(join(project, "lib/features/index.ts"), "utf8");
  mkdirSync(join(project, "lib/features/run-for"));
  write("lib/features/run-for/feature.ts", feature);
  write("lib/features/index.ts", index.replace(/\];\n$/, `${entry}];\n`));
  for (const { name, code } of examples.values()) write(name, code);
  write("tsconfig.json", JSON.stringify({ compilerOptions: options, include: ["*.ts", "lib/features/run-for"] }));
  write("package.json", JSON.stringify({ type: "module" }));
  const code = blockWith("DELETE FROM a");
  const wrong = "// @ts-expect-error: a number is no query\nvoid (() => doWork([7]));\n";
  const where = `socketPath: "${server.socketPath}", user: "root"`;
  const until = `const { runCommand } = await import("./lib/index.ts");
process.argv.push("-S", "${server.socketPath}", "-u", "root", "--run-for", "0.2");
process.exitCode = await runCommand(({ db, options }) => {
  myglobals.config = { db };
  return doWork(Array(1000).fill("DO SLEEP(0.1)"), 1, options);
});
`;
  write("main.ts", code.replace('host: "db1", user: "app"', where) + until + wrong);
  await server.root.query("CREATE TABLE shop.a (id INT); CREATE TABLE shop.b (id INT)");
  const tsx = { command: [join(root, "node_modules/.bin/tsx"), "main.ts"], folder: project };
  const tsc = { command: [join(root, "node_modules/.bin/tsc"), "-p", "."], folder: project };
  const [{ status, stdout, stderr }, types] = await Promise.all([run([], tsx), run([], tsc)]);
  assert.deepEqual([types.stdout, types.status], ["", 0]);
  assert.equal(stdout, "2 []\n", stderr);
  assert.match(stderr, /^ended early: its time is up\n\d+ of 1,000 queries done, [\d,]+ skipped/m);
  assert.equal(status, 1);
});

/** Runs a script's start in this process. Replaces the page's host names by the tests' server. */
async function runStart([name, ...words]: Start, { input = "", more = [] as readonly string[] } = {}): Promise<Ended> {
  const host = (word: string) => (word === "db1" ? "localhost" : "127.0.0.1");
  const args = words.map((word) =>
    /^db\d$/.test(word) ? host(word) : word.replace(/\bdb\d\b/g, (one) => `${host(one)}:${server.port}`),
  );
  if (args.includes("-h")) args.unshift("-P", `${server.port}`, ...(args.includes("-u") ? [] : ["-u", "app"]));
  const main = name === "myscript.ts" ? undefined : await mainOf(name);
  const queries = ["SELECT 1 AS id"]; // for myscript.ts without files
  return runHere([...args, ...more], { env: { MYSQL_PWD: "s3cr3t" }, input, queries, main, name });
}

/** Runs a whole script by its command line on the page. */
async function runExample(name: string, ...more: string[]): Promise<Ended> {
  const [[start]] = (await shell.startsOf([examples.get(name)!.line])) as [[Start]];
  return runStart(start, { more });
}

const mains = new Map<string, Main>();

/** Imports a whole script as it stands, and returns its argument of `runCommand()`. */
async function mainOf(name: string): Promise<Main> {
  const known = mains.get(name);
  if (known) return known;
  const folder = join(directory, "scripts");
  if (!existsSync(folder)) {
    mkdirSync(join(folder, "lib"), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    symlinkSync(join(root, "lib/features"), join(folder, "lib/features"));
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    const keep = "export const runCommand = async (main) => (globalThis.keepMain?.(main), process.exitCode);\n";
    writeFileSync(join(folder, "lib/index.ts"), `// @ts-nocheck\nexport * from "${root}lib/index.ts";\n${keep}`);
  }
  writeFileSync(join(folder, name), examples.get(name)!.code);
  Object.assign(globalThis, { keepMain: (main: Main) => mains.set(name, main) });
  await import(pathToFileURL(join(folder, name)).href);
  return mains.get(name)!;
}

/** Returns the anchor that GitHub gives to a heading. */
function anchorOf(heading: string): string {
  return heading
    .replace(/^#+ /, "")
    .toLowerCase()
    .replace(/[^\w -]/g, "")
    .replaceAll(" ", "-");
}
