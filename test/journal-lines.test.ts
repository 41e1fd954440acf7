import assert from "node:assert/strict";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { header, lineOf, readLog } from "../lib/features/joblog/journal-lines.ts";
import { inSoak } from "./soak.ts";

test("readLog() takes time in proportion to the log, and little memory, even for a very long line", {
  skip: inSoak,
  timeout: 30_000,
}, async () => {
  const directory = await mkdtemp(join(tmpdir(), "myscript-joblog-"));
  const path = join(directory, "log");
  const handle = await open(path, "w+");
  try {
    const [first, second] = [2, 3].map((seq) => lineOf({ seq, outcome: "done" }, "0123456789abcdef"));
    await handle.write(header + first!.trimEnd());
    const long = 2 ** 28; // a hole in the file, which takes no disk space
    await handle.write(`\n${second}9\t`, long);
    await handle.truncate(long * 2);
    const { known, bytes } = await readLog(handle, path);
    assert.deepEqual([known.outcome(2), known.outcome(3), known.last], ["done", "done", 3]);
    assert.equal(bytes, long + 1 + second!.length);
  } finally {
    await handle.close();
    await rm(directory, { recursive: true });
  }
});

test("readLog() distinguishes two hashes that differ in one digit", async () => {
  const directory = await mkdtemp(join(tmpdir(), "myscript-joblog-"));
  const handle = await open(join(directory, "log"), "w+");
  try {
    const hash = "0123456789abcdef";
    await handle.write(header + lineOf({ seq: 1, outcome: "done" }, hash));
    const { known } = await readLog(handle, "log");
    assert.ok(known.matches(1, hash));
    for (let at = 0; at < hash.length; at++) {
      const other = `${hash.slice(0, at)}${hash[at] === "f" ? "0" : "f"}${hash.slice(at + 1)}`;
      assert.ok(!known.matches(1, other), other);
    }
  } finally {
    await handle.close();
    await rm(directory, { recursive: true });
  }
});
