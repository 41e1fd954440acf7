import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

test("myscript.ts without arguments computes every row of the sandbox, and leaves nothing behind", async () => {
  const directory = mkdtempSync(join(tmpdir(), "test-"));
  const { status, stdout, stderr } = await run("node_modules/.bin/tsx", ["myscript.ts"], { TMPDIR: directory });
  assert.equal(stdout, "", "stdout carries data only");
  assert.match(stderr, /^no server was named: running on a private throwaway MariaDB\n/);
  assert.match(stderr, /^2,000 of 2,000 queries done, in [\d.]+ s \([\d,]+ a second\)\n200,000 rows, 0 retries; /m);
  assert.equal(status, 0);
  // tsx keeps its cache there
  assert.deepEqual(
    readdirSync(directory).filter((name) => !name.startsWith("tsx-")),
    [],
  );
  rmSync(directory, { recursive: true });
});

test("myscript.ts on a terminal shows a moving bar", {
  skip: process.platform !== "linux" && "no script -c",
}, async () => {
  const { status, stdout } = await run("script", ["-qec", "node_modules/.bin/tsx myscript.ts", "/dev/null"]);
  const drawn = new Set(stdout.match(/[█░]{10,}/g));
  assert.ok(drawn.size >= 2, `${drawn.size} different bars`);
  assert.match(stdout, /100 % █+ {2}2,000\/2,000/);
  assert.equal(status, 0);
});

async function run(
  command: string,
  args: string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { status, stdout, stderr };
}

test("README.md shows the whole script and the help as they are", async () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const { stdout } = await run("node_modules/.bin/tsx", ["myscript.ts", "--help"]);
  assert.ok(readme.includes(`\`\`\`ts\n${readFileSync(join(root, "myscript.ts"), "utf8")}\`\`\`\n`));
  assert.ok(readme.includes(`\`\`\`\n${stdout}\`\`\`\n`));
});
