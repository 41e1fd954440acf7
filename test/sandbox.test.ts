import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import mysql from "mysql2/promise";
import { type Sandbox, startSandbox } from "../lib/command/sandbox.ts";
import { runtime } from "./run.ts";

test("startSandbox() starts servers that do not see each other, on a socket in a private directory", async () => {
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

test("startSandbox() says what the server says when it does not start", async () => {
  await assert.rejects(startSandbox({ args: ["--no-such-option"] }), /Cannot start .*mariadbd: .*no-such-option/s);
});

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
