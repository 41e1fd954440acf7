/** The memory of a run does not depend on its length. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runtime } from "./run.ts";
import { scaled } from "./soak.ts";

const [program, ...args] = runtime;

test("doWork() runs ten times as many queries in the same memory, each once", async () => {
  const many = fileURLToPath(new URL("./scripts/many.ts", import.meta.url));
  const count = scaled(200_000, 3000);
  const bytes = scaled(0, 4000); // padded, 30,000 queries fill as many segments as half a million short ones
  const { stdout } = await promisify(execFile)(program!, [...args, many, ...[bytes, count, count * 10].map(String)]);
  const [few, more] = JSON.parse(stdout) as { executed: number; peakMiB: number }[];
  assert.deepEqual([few!.executed, more!.executed], [count, count * 10]);
  const most = few!.peakMiB * scaled(1.2, 1.5); // the short form has no time to warm up; its texts have 120 MB
  assert.ok(more!.peakMiB <= most, `${few!.peakMiB} MiB, then ${more!.peakMiB} MiB`);
});
