/** A run of any length takes the same memory. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runtime } from "./run.ts";

const [program, ...args] = runtime;

test("doWork() runs 2,000,000 queries in the memory of 200,000, each once", async () => {
  const many = fileURLToPath(new URL("./scripts/many.ts", import.meta.url));
  const run = async (count: number) => {
    const { stdout } = await promisify(execFile)(program!, [...args, many, String(count)]);
    return JSON.parse(stdout) as { executed: number; peakMiB: number };
  };
  const few = await run(200_000);
  const more = await run(2_000_000);
  assert.deepEqual([few.executed, more.executed], [200_000, 2_000_000]);
  assert.ok(more.peakMiB <= few.peakMiB * 1.2, `${few.peakMiB} MiB, then ${more.peakMiB} MiB`);
});
