import assert from "node:assert/strict";
import { test } from "node:test";
import { Packer } from "../lib/parent/packer.ts";
import { outcomeOf, Segment } from "../lib/shared/segment.ts";

test("Packer and Segment carry text, placeholders' values and any cloneable value unchanged", () => {
  const units = [
    "SELECT 1",
    "SELECT 'žluťoučký 🐎'",
    "",
    { sql: "INSERT INTO t VALUES (?, ?, ?, ?)", values: [1, null, new Date(0), Buffer.from([0, 255])] },
    { at: "dump.sql:12", sql: "SELECT\n  1" },
    { at: "dump.sql:12", sql: "SELECT ?", values: [1] },
    { file: "a.txt", big: 2n ** 70n, set: new Set([1]), map: new Map([["a", 1]]) },
    42,
    null,
  ];
  const packer = new Packer();
  for (const unit of units) packer.add(unit, 1);
  const segment = new Segment(packer.seal().shared); // as another thread sees it
  assert.deepEqual(
    units.map((_, index) => segment.unit(index)),
    units,
  );
});

test("Packer.add() refuses what cannot be cloned and stays usable", () => {
  const packer = new Packer();
  assert.throws(() => packer.add({ unit: () => 1 }, 1), /not be cloned/);
  packer.add("SELECT 1", 1);
  assert.equal(packer.seal().unit(0), "SELECT 1");
});

test("Packer fills segments of 4096 queries or 1 MiB, and one larger query goes through", () => {
  const packer = new Packer();
  for (let index = 0; !packer.full; index++) packer.add(`DO ${index}`, index + 1);
  assert.equal(packer.size, 4096);
  assert.equal(packer.seal().count, 4096);
  const huge = `DO '${"x".repeat(20 << 20)}'`;
  packer.add(huge, 4097);
  assert.ok(packer.full);
  const segment = packer.seal();
  assert.equal(segment.unit(0), huge);
  assert.equal(segment.seq(0), 4097);
  packer.add("DO 1", 1);
  assert.equal(packer.seal().shared.byteLength < 2 << 20, true, "the next segment is of the usual size again");
});

test("Packer.seal() uses a spare buffer again, with nothing left of what was in it", () => {
  const packer = new Packer();
  for (const sql of ["DO 1", "DO 2", "DO 3"]) packer.add(sql, 1);
  const first = packer.seal();
  first.admit(3);
  for (let index = first.claim(1); index >= 0; index = first.claim(1)) first.end(index, "done", 1, 1, 1);
  packer.add("DO 4", 4);
  const second = packer.seal(first.shared);
  assert.equal(second.shared, first.shared);
  assert.deepEqual([second.seq(0), second.count, second.state(0), second.unit(0)], [4, 1, 0, "DO 4"]);
  assert.deepEqual(second.record(0), { tries: 0, start: 0, durationMs: 0, rows: 0, warnings: 0 });
});

test("Segment.claim() gives each query once, in order, to whoever asks", () => {
  const packer = new Packer();
  for (let index = 0; index < 100; index++) packer.add(`DO ${index}`, index + 1);
  const segment = packer.seal();
  assert.equal(segment.claim(1), -1, "nothing is admitted yet");
  assert.equal(segment.exhausted, false);
  segment.admit(100);
  const sides = [segment, new Segment(segment.shared)];
  const claims = Array.from({ length: 100 }, (_, n) => sides[n % 2]!.claim(1 + (n % 2)));
  assert.deepEqual(
    claims,
    Array.from({ length: 100 }, (_, n) => n),
  );
  assert.equal(segment.state(0), 1);
  assert.equal(segment.state(1), 2);
  assert.equal(segment.claim(1), -1);
  assert.ok(segment.exhausted);
});

test("Segment.end() records the outcome, the duration, the rows and the warnings", () => {
  const packer = new Packer();
  packer.add("DO 1", 1);
  const segment = packer.seal();
  segment.admit(1);
  const before = Date.now();
  segment.addTry(segment.claim(3));
  segment.end(0, "failed", 12.5, 3, 2);
  const { start, ...record } = segment.record(0);
  assert.equal(outcomeOf(segment.state(0)), "failed");
  assert.deepEqual(record, { tries: 1, durationMs: 12.5, rows: 3, warnings: 2 });
  assert.ok(start >= before && start <= Date.now());
});
