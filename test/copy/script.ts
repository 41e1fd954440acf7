import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("..", import.meta.url));
/** The server for buildQueries(). If yours queries a server, name one for tests here. */
const server: readonly string[] = ["--socket", "none"];

test("myscript.ts --dry-run prints the queries", () => {
  const args = ["--import", "tsx", "myscript.ts", "--dry-run", ...server];
  const env = { PATH: process.env.PATH, HOME: "/nonexistent" }; // no MYSQL_* and no ~/.my.cnf may name a server
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, env, encoding: "utf8" });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^1\t/);
});
