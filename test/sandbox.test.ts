import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import mysql from "mysql2/promise";
import { findProgram, type Sandbox, startSandbox } from "../lib/features/sandbox/sandbox.ts";
import { runtime } from "./run.ts";
import { target } from "./target.ts";

test("startSandbox() starts independent servers, each on a socket in a private directory", async () => {
  const sandboxes = await Promise.all([startSandbox({ orders: 10 }), startSandbox({ orders: 20 })]);
  try {
    for (const [index, { db }] of sandboxes.entries()) {
      const connection = await mysql.createConnection({ ...db, rowsAsArray: true });
      const [rows] = await connection.query("SELECT COUNT(*), COUNT(total), @@port FROM myscript_orders");
      connection.destroy();
      assert.deepEqual(rows, [[10 * (index + 1), 0, 0]], "its own rows, and no TCP port");
      assert.equal(statSync(dirname(db.socketPath)).mode & 0o777, 0o700);
    }
  } finally {
    await Promise.all(sandboxes.map((sandbox) => sandbox.stop()));
  }
  for (const sandbox of sandboxes) assertGone(sandbox);
});

for (const signal of ["SIGKILL", "SIGTERM", "exit"] as const) {
  test(`startSandbox() leaves no process and no file behind after ${signal}`, async () => {
    const script = fileURLToPath(new URL("./scripts/sandbox.ts", import.meta.url));
    const child = spawn(runtime[0]!, [...runtime.slice(1), script], { stdio: ["pipe", "pipe", "inherit"] });
    const [line] = await once(child.stdout, "data");
    const sandbox = JSON.parse(line) as Sandbox;
    process.kill(sandbox.pid, 0);
    if (signal === "exit") child.stdin.end();
    else child.kill(signal);
    await once(child, "exit");
    while (isAlive(sandbox.pid) || existsSync(dirname(sandbox.db.socketPath))) await sleep(10);
    assertGone(sandbox);
  });
}

test("startSandbox() reports in one line why it cannot start, and leaves nothing behind", async () => {
  await inFreshDirectory(async (temporary) => {
    const why = async (arg: string) => {
      const error: Error = await startSandbox({ args: [arg] }).then(
        () => assert.fail("it has started"),
        (reason) => reason,
      );
      assert.deepEqual(
        readdirSync(temporary).filter((name) => !name.startsWith("myscript-cache")),
        [],
      );
      return error.message;
    };
    assert.match(
      await why("--no-such-option"),
      /^Cannot start \S+(?:mariadb|mysql)d: .*unknown option '--no-such-option'.*$/,
    );
    assert.match(await why(`--a=${"a".repeat(200_000)}`), /^Cannot start \S+: spawn E2BIG$/, "not even the shell");
  });
});

test("startSandbox() leaves nothing behind without rm on the PATH", async () => {
  await inFreshDirectory(async (temporary) => {
    const PATH = dirname((await findProgram()).path);
    const script = fileURLToPath(new URL("./scripts/sandbox.ts", import.meta.url));
    const child = spawn(runtime[0]!, [...runtime.slice(1), script], { env: { ...process.env, PATH } });
    await once(child.stdout, "data");
    child.kill("SIGKILL");
    await once(child, "exit");
    while (readdirSync(temporary).some((name) => /^myscript-(?!cache)/.test(name))) await sleep(10);
  });
});

const noCache = target.isMariaDB && "MariaDB needs no directory that was made before";
test("startSandbox() initializes MySQL's data directory once, also when two start at the same time", {
  skip: noCache,
}, async () => {
  await inFreshDirectory(async (temporary) => {
    const sandboxes = await Promise.all([startSandbox({ orders: 0 }), startSandbox({ orders: 0 })]);
    await Promise.all(sandboxes.map((sandbox) => sandbox.stop()));
    const [cache, ...others] = readdirSync(temporary);
    assert.deepEqual(others, []);
    assert.equal(statSync(join(temporary, cache!)).mode & 0o777, 0o700);
    assert.match(readdirSync(join(temporary, cache!)).join(), /^[0-9a-f]{16}$/);
    chmodSync(join(temporary, cache!), 0o777);
    await assert.rejects(startSandbox(), /Cannot start .* must be a directory of this user alone: remove it$/);
  });
});

/** Sets TMPDIR to a new directory, so that sandboxes put their files there. */
async function inFreshDirectory(then: (temporary: string) => Promise<void>): Promise<void> {
  const { TMPDIR = tmpdir() } = process.env;
  const temporary = mkdtempSync(join(tmpdir(), "sandbox-"));
  process.env.TMPDIR = temporary;
  try {
    await then(temporary);
  } finally {
    process.env.TMPDIR = TMPDIR;
    rmSync(temporary, { recursive: true });
  }
}

function assertGone({ pid, db }: Sandbox): void {
  assert.equal(isAlive(pid), false, `process ${pid} is left`);
  assert.equal(existsSync(dirname(db.socketPath)), false, `${dirname(db.socketPath)} is left`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
