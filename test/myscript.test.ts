import assert from "node:assert/strict";
import {
  chmodSync,
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
import { join } from "node:path";
import { test } from "node:test";
import { startSandbox } from "../lib/features/sandbox/sandbox.ts";
import { root, run, viaTsx } from "./run.ts";
import { target } from "./target.ts";

test("myscript.ts without arguments computes every row of the sandbox, and leaves nothing behind", async () => {
  const directory = mkdtempSync(join(tmpdir(), "test-"));
  const compiled = `tsx-${process.getuid?.()}`; // tsx's cache of earlier runs
  if (existsSync(join(tmpdir(), compiled))) symlinkSync(join(tmpdir(), compiled), join(directory, compiled));
  const { status, stdout, stderr } = await run([], { command: viaTsx, env: { TMPDIR: directory } });
  assert.equal(stdout, "", "stdout carries data only");
  const kind = target.isMariaDB ? "MariaDB" : "MySQL";
  assert.match(stderr, new RegExp(`^no server was named: running on a private throwaway ${kind}\n`));
  assert.match(stderr, /^2,000 of 2,000 queries done, in [\d.]+ s \([\d,]+ a second\)\n200,000 rows, 0 retries$/m);
  assert.equal(status, 0);
  // caches of tsx and Node, and MySQL's template of a sandbox
  assert.deepEqual(
    readdirSync(directory).filter(
      (name) => !/^(?:tsx-|node-compile-cache$|myscript-bundles-|myscript-cache-)/.test(name),
    ),
    [],
  );
  rmSync(directory, { recursive: true });
});

test("npm start runs no code that another user may have left in the system's temporary directory", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "test-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const left = join(directory, `tsx-${process.getuid?.()}`);
  mkdirSync(left);
  const command = ["npm", "start", "--silent", "--"];
  const ended = await run(["--dry-run", "-"], { command, input: "DO 1", env: { TMPDIR: directory } });
  assert.deepEqual(ended, { status: 0, stdout: "1\tDO 1\n", stderr: "" });
  assert.deepEqual([readdirSync(left), existsSync(join(directory, "node-compile-cache"))], [[], false]);
});

test("myscript.ts on a terminal shows a moving bar", {
  skip: process.platform !== "linux" && "no script -c",
}, async (t) => {
  const sandbox = await startSandbox({ orders: 4000 });
  t.after(() => sandbox.stop());
  // The rate is so low that ranges(), which finds the total, ends long before the queries.
  const words = [...viaTsx, "-S", sandbox.db.socketPath, "-u", "root", "-D", "myscript", "--rate", "20"];
  const { status, stdout } = await run([words.join(" "), "/dev/null"], { command: ["script", "-qec"] });
  const drawn = new Set(stdout.match(/[█░]{10,}/g));
  assert.ok(drawn.size >= 2, `${drawn.size} different bars`);
  assert.match(stdout, /100 % █+ {2}40\/40/);
  assert.equal(status, 0);
});

test("myscript.ts runs by itself, from any folder and by a link", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "my links "));
  t.after(() => rmSync(directory, { recursive: true }));
  const link = join(directory, "batch");
  symlinkSync(join(root, "myscript.ts"), link);
  for (const path of [join(root, "myscript.ts"), link]) {
    const ended = await run(["--dry-run", "-"], { command: ["sh", "-c", 'cd /; exec "$0" "$@"', path], input: "DO 1" });
    assert.deepEqual(ended, { status: 0, stdout: "1\tDO 1\n", stderr: "" });
  }
});

test("npm run mariadb installs when either program is missing, and not when both are there", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "myscript-path-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const { mariadb } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).scripts;
  const add = (name: string) => {
    writeFileSync(join(directory, name), `#!/bin/sh\necho ${name} "$@"\n`);
    chmodSync(join(directory, name), 0o755);
  };
  const installs = async () => {
    const { stdout } = await run(["-c", mariadb], { command: ["/bin/sh"], env: { PATH: directory } });
    return stdout.includes("apt-get install -y mariadb-server-core mariadb-client-core\n");
  };
  add("apt-get");
  assert.equal(await installs(), true);
  add("mariadbd");
  assert.equal(await installs(), true);
  add("mariadb");
  assert.equal(await installs(), false);
  rmSync(join(directory, "mariadbd"));
  assert.equal(await installs(), true);
});
