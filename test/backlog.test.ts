import assert from "node:assert/strict";
import { test } from "node:test";
import { Backlog } from "../lib/backlog.ts";
import { Packer, type Segment } from "../lib/queue.ts";

test("Backlog.collect() visits each ended query once, and again when the visitor was not ready for it", () => {
  const backlog = new Backlog<string>();
  const segment = segmentOf(3);
  backlog.add(segment);
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
  const unknown: number[] = [];
  backlog.skipRest(9, (seq) => unknown.push(seq));
  assert.deepEqual(unknown, []);
  collect(true);
  assert.deepEqual(seen, ["0 done", "1 failed", "2 skipped"]);
  assert.equal(backlog.empty, true);
});

test("Backlog.takeSpare() gives a segment's memory only when every thread has left it and every query has ended", () => {
  const backlog = new Backlog<string>();
  const segment = segmentOf(1);
  backlog.add(segment);
  backlog.hold(segment, "a");
  backlog.hold(segment, "b");
  const index = segment.claim(1);
  backlog.leave(0, "a");
  backlog.leave(0, "b");
  backlog.collect(() => true);
  assert.equal(backlog.takeSpare(), undefined, "its query has not ended");
  segment.end(index, "done", 1, 1);
  backlog.collect(() => true);
  assert.equal(backlog.takeSpare(), segment.shared);
  assert.equal(backlog.takeSpare(), undefined);

  const other = segmentOf(1);
  backlog.add(other);
  for (const thread of ["a", "a", "b", "c"]) backlog.hold(other, thread);
  other.end(other.claim(1), "done", 1, 1);
  backlog.collect(() => true);
  backlog.leave(0, "b");
  backlog.leave(0, "a");
  backlog.forget("c");
  assert.equal(backlog.takeSpare(), undefined, "it was announced to thread a twice");
  backlog.leave(0, "a");
  assert.equal(backlog.takeSpare(), other.shared);
});

test("Backlog.collect() names a segment to be announced again when a query in it was given back", () => {
  const backlog = new Backlog<string>();
  const segment = segmentOf(3);
  backlog.add(segment);
  for (let n = 0; n < 3; n++) segment.claim(1);
  assert.equal(segment.claim(1), -1);
  assert.deepEqual(backlog.open, []);
  assert.deepEqual(
    backlog.collect(() => true),
    [],
  );
  segment.reopen(1, true);
  assert.deepEqual(
    backlog.collect(() => true),
    [segment],
  );
  assert.deepEqual(backlog.open, [segment]);
  assert.equal(segment.claim(2), 1);
  segment.end(2, "failed", 0, 0);
  assert.deepEqual(
    [...backlog.claimed()].map(({ index, worker, outcome }) => [index, worker, outcome]),
    [
      [0, 1, undefined],
      [1, 2, undefined],
      [2, 1, "failed"],
    ],
  );
  segment.reopen(1, true);
  const unknown: number[] = [];
  backlog.skipRest(9, (seq) => unknown.push(seq));
  assert.deepEqual(unknown, [segment.seq(1)], "it may have run");
});

test("Backlog.admit() admits in the order of release, over the bounds of segments", () => {
  const backlog = new Backlog<string>();
  const packer = new Packer();
  const segments = [2, 3].map((count, n) => {
    for (let index = 0; index < count; index++) packer.add("DO 0", 10 * (n + 1) + index);
    const segment = packer.seal();
    backlog.add(segment);
    return segment;
  });
  assert.equal(backlog.released, 5);
  assert.deepEqual(
    [0, 1, 2, 3, 5, 6].map((count) => backlog.seqAt(count)),
    [undefined, 10, 11, 20, 22, undefined],
  );
  backlog.admit(3);
  assert.deepEqual([segments[0]!.claim(1), segments[0]!.claim(1), segments[0]!.claim(1)], [0, 1, -1]);
  assert.deepEqual([segments[1]!.claim(1), segments[1]!.claim(1)], [0, -1]);
  assert.equal(segments[1]!.exhausted, false);
});

function segmentOf(count: number): Segment {
  const packer = new Packer();
  for (let index = 0; index < count; index++) packer.add(`DO ${index}`, index + 1);
  const segment = packer.seal();
  segment.admit(count);
  return segment;
}
