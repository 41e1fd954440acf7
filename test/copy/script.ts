import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("..", import.meta.url));
/** The server that buildQueries() may ask. Name one for tests if yours does. */
const server: readonly string[] = ["--socket", "none"];

test("myscript.ts --dry-run prints the queries", () => {
  const args = ["--import", "tsx", "myscript.ts", "--dry-run", ...server];
  const env = { PATH: process.env.PATH, HOME: "/nonexistent" }; // without what names a server
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, env, encoding: "utf8" });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^1\t/);
});
