import assert from "node:assert/strict";
import { test } from "node:test";
import { Packer } from "../lib/parent/packer.ts";
import type { Thread } from "../lib/parent/pool.ts";
import { Records } from "../lib/parent/records.ts";
import { Counters, type Ended } from "../lib/shared/counters.ts";
import type { Segment } from "../lib/shared/segment.ts";

const error = { code: "ER_NO", message: "no" };

test("Records.collect() takes each ended query once, a failed one only when the message about it is there", () => {
  const { records, seen } = recordsOf();
  const segment = segmentOf(3);
  records.add(segment);
  segment.end(segment.claim(1), "done", 1, 1);
  segment.end(segment.claim(1), "failed", 1, 0);
  records.collect();
  records.collect();
  assert.deepEqual(seen(), ["1 done"]);
  records.setError(2, error);
  records.collect();
  assert.deepEqual(seen(), ["1 done", "2 failed"]);
  assert.equal(records.isDrained, false);
  records.skipRest(9);
  records.collect();
  assert.deepEqual(seen(), ["1 done", "2 failed", "3 skipped"]);
  assert.equal(records.isDrained, true);
});

test("Records.takeSpare() gives a segment's memory only when every thread has left it and every query has ended", () => {
  const { records } = recordsOf();
  const [a, b, c] = [threadOf([1]), threadOf([2]), threadOf([3])];
  const segment = segmentOf(1);
  records.add(segment);
  records.announce(segment, a);
  records.announce(segment, b);
  const index = segment.claim(1);
  records.leave(segment.id, a);
  records.leave(segment.id, b);
  records.collect();
  assert.equal(records.takeSpare(), undefined, "its query has not ended");
  segment.end(index, "done", 1, 1);
  records.collect();
  assert.equal(records.takeSpare(), segment.shared);
  assert.equal(records.takeSpare(), undefined);

  const other = segmentOf(1);
  records.add(other);
  for (const thread of [a, a, b, c]) records.announce(other, thread);
  other.end(other.claim(1), "done", 1, 1);
  records.collect();
  records.leave(other.id, b);
  records.leave(other.id, a);
  records.resolveDeadThread(c, "killed", () => false);
  assert.equal(records.takeSpare(), undefined, "it was announced to thread a twice");
  records.leave(other.id, a);
  assert.equal(records.takeSpare(), other.shared);
});

test("Records.collect() names a segment to be announced again when a query in it was given back", () => {
  const { records, seen } = recordsOf();
  const segment = segmentOf(3);
  records.add(segment);
  for (let n = 0; n < 3; n++) segment.claim(1);
  assert.equal(segment.claim(1), -1);
  assert.deepEqual(records.open, []);
  assert.deepEqual(records.collect(), []);
  segment.unclaim(1, true);
  assert.deepEqual(records.collect(), [segment]);
  assert.deepEqual(records.open, [segment]);
  assert.equal(segment.claim(2), 1);
  segment.end(2, "failed", 0, 0);
  assert.deepEqual(
    [...records.inFlight()].map(({ index, worker }) => [index, worker]),
    [
      [0, 1],
      [1, 2],
    ],
  );
  segment.unclaim(1, true);
  records.skipRest(9);
  records.collect();
  assert.deepEqual(seen(), ["2 unknown"], "it may have run");
});

test("Records.resolveDeadThread() ends as unknown what a dead thread had in flight, and gives back what can run again", () => {
  for (const canRunAgain of [false, true]) {
    const { records, seen } = recordsOf();
    const segment = segmentOf(3);
    records.add(segment);
    segment.claim(1);
    segment.claim(2);
    segment.end(segment.claim(1), "failed", 1, 0); // its message was lost with the thread
    records.resolveDeadThread(threadOf([1]), "killed", () => canRunAgain);
    assert.deepEqual(records.collect(), canRunAgain ? [segment] : []);
    assert.deepEqual(seen(), canRunAgain ? ["3 failed"] : ["1 unknown", "3 failed"]);
    assert.equal(segment.mayHaveRun(0), canRunAgain);
  }
});

test("Records.awaitingCommit counts what a transaction that is open holds back", () => {
  const { records } = recordsOf();
  const segment = segmentOf(2);
  records.add(segment);
  segment.markAwaitingCommit(segment.claim(1), 5);
  assert.equal(records.awaitingCommit, 1);
  assert.equal(records.isDrained, false, "one is not claimed");
  assert.deepEqual([...records.inFlight()], []);
  segment.claim(1);
  assert.equal(records.isDrained, false, "one is in flight");
  segment.markAwaitingCommit(1, 5);
  assert.equal(records.isDrained, true);
});

test("Records.admit() admits in the order of release, over the bounds of segments", () => {
  const { records } = recordsOf();
  const packer = new Packer();
  const segments = [2, 3].map((count, n) => {
    for (let index = 0; index < count; index++) packer.add("DO 0", 10 * (n + 1) + index);
    const segment = packer.seal();
    records.add(segment);
    return segment;
  });
  assert.equal(records.released, 5);
  assert.deepEqual(
    [0, 1, 2, 3, 5, 6].map((count) => records.seqAt(count)),
    [undefined, 10, 11, 20, 22, undefined],
  );
  records.admit(3);
  assert.deepEqual([segments[0]!.claim(1), segments[0]!.claim(1), segments[0]!.claim(1)], [0, 1, -1]);
  assert.deepEqual([segments[1]!.claim(1), segments[1]!.claim(1)], [0, -1]);
  assert.equal(segments[1]!.exhausted, false);
});

function recordsOf(): { records: Records; seen: () => string[] } {
  const all: Ended[] = [];
  const records = new Records(new Counters(3), (ended) => all.push(ended));
  return { records, seen: () => all.map(({ seq, outcome }) => `${seq} ${outcome}`) };
}

function threadOf(workers: readonly number[]): Thread {
  return { workers, send() {}, terminate() {} };
}

function segmentOf(count: number): Segment {
  const packer = new Packer();
  for (let index = 0; index < count; index++) packer.add(`DO ${index}`, index + 1);
  const segment = packer.seal();
  segment.admit(count);
  return segment;
}
