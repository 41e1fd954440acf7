import assert from "node:assert/strict";
import { test } from "node:test";
import { Backlog } from "../lib/backlog.ts";
import { Packer, type Segment } from "../lib/queue.ts";

test("Backlog.collect() visits each ended query once, and again when the visitor was not ready for it", () => {
  const backlog = new Backlog<string>();
  const segment = segmentOf(3);
  backlog.add(segment, ["thread"]);
  const seen: string[] = [];
  const collect = (ready: boolean) =>
    backlog.collect((_, index, outcome) => {
      if (ready) seen.push(`${index} ${outcome}`);
      return ready;
    });
  segment.end(segment.claim(1), "done", 1, 1);
  collect(false);
  collect(true);
  collect(true);
  assert.deepEqual(seen, ["0 done"]);
  assert.equal(backlog.empty, false);
  segment.end(segment.claim(1), "failed", 1, 1);
  backlog.skipRest(9);
  collect(true);
  assert.deepEqual(seen, ["0 done", "1 failed", "2 skipped"]);
  assert.equal(backlog.empty, true);
});

test("Backlog.takeSpare() gives a segment's memory only when every thread has left it and every query has ended", () => {
  const backlog = new Backlog<string>();
  const segment = segmentOf(1);
  backlog.add(segment, ["a", "b"]);
  const index = segment.claim(1);
  backlog.leave("a");
  backlog.leave("b");
  backlog.collect(() => true);
  assert.equal(backlog.takeSpare(), undefined, "its query has not ended");
  segment.end(index, "done", 1, 1);
  backlog.collect(() => true);
  assert.equal(backlog.takeSpare(), segment.shared);
  assert.equal(backlog.takeSpare(), undefined);

  const other = segmentOf(1);
  backlog.add(other, ["a", "b"]);
  other.end(other.claim(1), "done", 1, 1);
  backlog.collect(() => true);
  backlog.leave("b");
  assert.equal(backlog.takeSpare(), undefined, "thread a may still look into it");
  backlog.leave("a");
  assert.equal(backlog.takeSpare(), other.shared);
});

function segmentOf(count: number): Segment {
  const packer = new Packer();
  for (let index = 0; index < count; index++) packer.add(`DO ${index}`);
  return packer.seal();
}
