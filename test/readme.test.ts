/** What the README shows is so. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { help } from "../lib/command/flags.ts";
import { root, run } from "./run.ts";
import { startServer, type TestServer } from "./server.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript-readme-"));
const readme = readFileSync(join(root, "README.md"), "utf8");
const script = readFileSync(join(root, "myscript.ts"), "utf8");
let server: TestServer;

before(async () => {
  server = await startServer();
  await server.root.query("CREATE USER app IDENTIFIED BY 's3cr3t'");
  await server.root.query("GRANT ALL ON *.* TO app");
  await server.root.query("CREATE DATABASE shop");
});

after(async () => {
  await server?.stop();
  rmSync(directory, { recursive: true });
});

test("the README shows the help and the whole script", () => {
  assert.ok(blocks("").includes(`${help}\n`), "the help");
  assert.ok(blocks("ts").includes(script), "the script");
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
    .flatMap((block) => block.trimEnd().split("\n"))
    .filter((line) => line.includes("npx tsx"));
  assert.ok(lines.length >= 4);
  for (const line of lines) {
    const here = line
      .replace("npx tsx myscript.ts", `${root}node_modules/.bin/tsx ${root}myscript.ts`)
      .replace(/ -h db\d/, ` -h 127.0.0.1 -P ${server.port}`)
      .replace(/^(?=.*-h )(?!.* -u )(.* -D)/, (found) => found.replace(" -D", " -u app -D"))
      .replace(/^mysqldump shop/, `printf '%s' '${dump}'`);
    const { status, stderr } = await run([here], {
      command: ["sh", "-ec", 'cd "$0"; eval "$1"', directory],
      env: { MYSQL_PWD: "s3cr3t" },
    });
    assert.equal(status, 0, `${here}\n${stderr}`);
  }
  assert.equal(readFileSync(join(directory, "rows.ndjson"), "utf8"), '{"seq":1,"row":{"id":1}}\n');
  const [rows] = await server.root.query(
    "SELECT (SELECT COUNT(*) FROM shop.orders) + (SELECT COUNT(*) FROM shop.dumped) AS n",
  );
  assert.deepEqual(rows, [{ n: 3 }]);
});

test("the script of the README with a worker's own work runs in a copy of the folder", async () => {
  const own = blocks("ts").find((block) => block.includes("function workerDo"))!;
  writeFileSync(join(directory, "hashes.ts"), own);
  cpSync(join(root, "lib"), join(directory, "lib"), { recursive: true });
  cpSync(join(root, "package.json"), join(directory, "package.json"));
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"));
  await server.root.query("CREATE TABLE shop.hashes (path VARCHAR(99) PRIMARY KEY, hash CHAR(64))");
  const where = ["-S", server.socketPath, "-u", "root", "-D", "shop"];
  const { status, stderr } = await run([join(directory, "hashes.ts"), ...where], {
    command: ["sh", "-ec", `cd "$0"; exec ${root}node_modules/.bin/tsx "$@"`, directory],
  });
  assert.equal(status, 0, stderr);
  const [rows] = await server.root.query("SELECT hash FROM shop.hashes WHERE path = 'lib/mp.ts' AND LENGTH(hash) = 64");
  assert.equal((rows as unknown[]).length, 1);
});

/** The code blocks of a language. */
function blocks(language: string): string[] {
  return [...readme.matchAll(/^```(\w*)\n(.*?)^```$/gms)].flatMap(([, tag, text]) => (tag === language ? [text!] : []));
}
