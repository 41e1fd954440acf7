import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { run, viaTsx } from "./run.ts";

test("myscript.ts without arguments computes every row of the sandbox, and leaves nothing behind", async () => {
  const directory = mkdtempSync(join(tmpdir(), "test-"));
  const { status, stdout, stderr } = await run([], { command: viaTsx, env: { TMPDIR: directory } });
  assert.equal(stdout, "", "stdout carries data only");
  assert.match(stderr, /^no server was named: running on a private throwaway MariaDB\n/);
  assert.match(stderr, /^2,000 of 2,000 queries done, in [\d.]+ s \([\d,]+ a second\)\n200,000 rows, 0 retries$/m);
  assert.equal(status, 0);
  // tsx and Node keep their caches there
  assert.deepEqual(
    readdirSync(directory).filter((name) => !/^(?:tsx-|node-compile-cache$)/.test(name)),
    [],
  );
  rmSync(directory, { recursive: true });
});

test("myscript.ts on a terminal shows a moving bar", {
  skip: process.platform !== "linux" && "no script -c",
}, async () => {
  const { status, stdout } = await run([viaTsx.join(" "), "/dev/null"], { command: ["script", "-qec"] });
  const drawn = new Set(stdout.match(/[█░]{10,}/g));
  assert.ok(drawn.size >= 2, `${drawn.size} different bars`);
  assert.match(stdout, /100 % █+ {2}2,000\/2,000/);
  assert.equal(status, 0);
});
