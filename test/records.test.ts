import assert from "node:assert/strict";
import { test } from "node:test";
import { Packer } from "../lib/parent/packer.ts";
import type { Thread } from "../lib/parent/pool.ts";
import { Records } from "../lib/parent/records.ts";
import { Counters, type Ended } from "../lib/shared/counters.ts";
import type { Segment } from "../lib/shared/segment.ts";

const error = { code: "ER_NO", message: "no" };

test("Records.collect() returns each ended query once, and a failed one only after its error message has arrived", () => {
  const { records, seen } = recordsOf();
  const segment = segmentOf(3);
  records.add(segment);
  segment.end(segment.claim(1), "done", 1, 1);
  segment.end(segment.claim(1), "failed", 1, 0);
  records.collect();
  records.collect();
  assert.deepEqual(seen(), ["1 done"]);
  records.explain(2, error);
  records.collect();
  assert.deepEqual(seen(), ["1 done", "2 failed"]);
  assert.equal(records.isAnswered, false);
  records.skipRest(9);
  records.collect();
  assert.deepEqual(seen(), ["1 done", "2 failed", "3 skipped"]);
  assert.equal(records.isAnswered, true);
});

test("Records.takeSpare() returns a segment's memory only after every thread has left it and every query has ended", () => {
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
  records.bury(c, "killed", () => false);
  assert.equal(records.takeSpare(), undefined, "it was announced to thread a twice");
  records.leave(other.id, a);
  assert.equal(records.takeSpare(), other.shared);
});

test("Records.collect() returns a segment that must be announced again after a query in it was given back", () => {
  const { records, seen } = recordsOf();
  const segment = segmentOf(3);
  records.add(segment);
  for (let n = 0; n < 3; n++) segment.claim(1);
  assert.equal(segment.claim(1), -1);
  assert.deepEqual(records.open, []);
  assert.deepEqual(records.collect(), []);
  segment.reopen(1, true);
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
  segment.reopen(1, true);
  records.skipRest(9);
  records.collect();
  assert.deepEqual(seen(), ["2 unknown"], "it may have run");
});

test("Records.bury() ends a dead thread's queries in flight as unknown, or gives them back if they can run again", () => {
  for (const canRunAgain of [false, true]) {
    const { records, seen } = recordsOf();
    const segment = segmentOf(3);
    records.add(segment);
    segment.claim(1);
    segment.claim(2);
    segment.end(segment.claim(1), "failed", 1, 0); // the thread died before it sent the error
    records.bury(threadOf([1]), "killed", () => canRunAgain);
    assert.deepEqual(records.collect(), canRunAgain ? [segment] : []);
    assert.deepEqual(seen(), canRunAgain ? ["3 failed"] : ["1 unknown", "3 failed"]);
    assert.equal(segment.mayHaveRun(0), canRunAgain);
  }
});

test("Records.answered counts answered queries whose transaction is still open", () => {
  const { records } = recordsOf();
  const segment = segmentOf(2);
  records.add(segment);
  segment.noteAnswered(segment.claim(1), 5);
  assert.equal(records.answered, 1);
  assert.equal(records.isAnswered, false, "one is not claimed");
  assert.deepEqual([...records.inFlight()], []);
  segment.claim(1);
  assert.equal(records.isAnswered, false, "one is in flight");
  segment.noteAnswered(1, 5);
  assert.equal(records.isAnswered, true);
});

test("Records.admit() admits in the order of release, across segments", () => {
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
