/** The memory of a run does not depend on its length. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runtime } from "./run.ts";
import { scaled } from "./soak.ts";

const [program, ...args] = runtime;

test("doWork() runs several times as many queries in the same memory, each once", async () => {
  const many = fileURLToPath(new URL("./scripts/many.ts", import.meta.url));
  const count = scaled(200_000, 15_000);
  const times = scaled(10, 4);
  const bytes = scaled(0, 4000); // padded, 60,000 queries fill as many segments as a million short ones
  const counts = [count, count, count * times]; // the first run only fills what each process needs
  const { stdout } = await promisify(execFile)(program!, [...args, many, ...[bytes, ...counts].map(String)]);
  const [first, few, more] = JSON.parse(stdout) as { executed: number; peakMiB: number }[];
  assert.deepEqual([first!.executed, few!.executed, more!.executed], counts);
  const most = few!.peakMiB * scaled(1.2, 1.35); // if they were kept, the texts of the short form would take 230 MiB more
  assert.ok(more!.peakMiB <= most, `${few!.peakMiB} MiB, then ${more!.peakMiB} MiB`);
});
