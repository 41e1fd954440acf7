import assert from "node:assert/strict";
import { test } from "node:test";
import { Counters, Tally } from "../lib/shared/counters.ts";
import { Histogram } from "../lib/shared/histogram.ts";

test("Counters adds the counts of all threads", () => {
  const counters = new Counters(3);
  const other = new Counters(counters.shared); // as another thread sees it
  counters.add(1, "done");
  other.add(2, "done");
  other.add(3, "failed");
  other.add(3, "warnings", 2);
  counters.add(0, "unknown");
  assert.deepEqual(counters.read(), {
    done: 2,
    failed: 1,
    unknown: 1,
    warnings: 2,
  });
});

test("Histogram.percentile() is at most 5 % above the true percentile, from microseconds to hours", () => {
  for (const scale of [0.002, 1, 3_600_000]) {
    const histogram = new Histogram();
    for (let n = 1; n <= 1000; n++) histogram.add(n * scale);
    for (const percent of [50, 95, 99]) {
      const exact = percent * 10 * scale;
      const ratio = histogram.percentile(percent) / exact;
      assert.ok(ratio > 0.999999 && ratio < 1.0501, `p${percent} of ${scale}: ${ratio}`);
    }
    assert.equal(histogram.max, 1000 * scale);
  }
});

test("Histogram.percentile() is 0 without values, and never above the maximum", () => {
  const histogram = new Histogram();
  assert.equal(histogram.percentile(50), 0);
  for (let n = 0; n < 4; n++) histogram.add(5000);
  assert.deepEqual([histogram.percentile(50), histogram.percentile(99)], [5000, 5000]);
});

test("Tally.result() counts every outcome, and keeps the first 100 failures in input order", () => {
  const tally = new Tally();
  const failure = { sql: "DO x", code: "ER_X", message: "x" };
  for (let seq = 200; seq > 0; seq--) {
    const outcome = seq % 2 ? ("failed" as const) : ("done" as const);
    tally.add({ seq, outcome, tries: 2, start: 0, durationMs: 1, rows: 3, failure: seq % 2 ? failure : undefined });
  }

  const result = tally.result();
  assert.deepEqual(
    { ...result, latencyMs: 0, failures: result.failures.map(({ seq }) => seq), failureKinds: [] },
    {
      total: 200,
      done: 100,
      earlier: { done: 0, failed: 0, unknown: 0 },
      failed: 100,
      unknown: 0,
      skipped: 0,
      retries: 200,
      rows: 600,
      latencyMs: 0,
      warnings: 0,
      warnedQueries: 0,
      failures: Array.from({ length: 100 }, (_, n) => 2 * n + 1),
      failureKinds: [],
    },
  );
});

test("Tally.result() counts failures by outcome, code and message, without the place in the message", () => {
  const tally = new Tally();
  const messages = ["Data too long for column 'a' at row 1", "Data too long for column 'a' at row 7", "other"];
  for (let seq = 600; seq > 0; seq--) {
    const failure = { sql: `DO ${seq}`, code: "ER_X", message: messages[seq % 3]!, ...(seq % 2 && { at: `a:${seq}` }) };
    tally.add({ seq, outcome: "failed", tries: 1, start: 0, durationMs: 1, rows: 0, failure });
  }
  const kinds = tally.result().failureKinds.map(({ count, first, next }) => [count, first.seq, next]);
  assert.deepEqual(kinds, [
    [200, 599, [{ seq: 596 }, { seq: 593, at: "a:593" }, { seq: 590 }, { seq: 587, at: "a:587" }]],
    [400, 600, [{ seq: 598 }, { seq: 597, at: "a:597" }, { seq: 595, at: "a:595" }, { seq: 594 }]],
  ]);
});
