import assert from "node:assert/strict";
import { test } from "node:test";
import { deserialize, serialize } from "node:v8";
import fc from "fast-check";
import { hashOf } from "../lib/shared/hash.ts";

test("hashOf() is the same in the parent and in a thread and for a renamed file, and differs for any other change", () => {
  const round = (unit: unknown) => deserialize(serialize(unit)) as unknown;
  fc.assert(
    fc.property(
      fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true }),
      (unit) => {
        assert.equal(hashOf(round(unit)), hashOf(unit));
      },
    ),
  );
  assert.equal(hashOf("DO 1"), "c889859802416df7", "as sha256sum has it");
  assert.equal(hashOf({ sql: "DO 1", at: "a.sql:1" }), hashOf("DO 1"));
  assert.equal(hashOf({ sql: "DO ?", values: [1], at: "a.sql:1" }), hashOf({ sql: "DO ?", values: [1] }));
  const circular: unknown[] = [];
  circular.push(circular);
  const units = [
    ..."ab",
    ...[1, 2].map((value) => ({ sql: "DO ?", values: [value] })),
    { sql: "DO ?", values: ["1"] },
    { sql: "DO ?", values: [1n] },
    { sql: "DO ?", values: [null] },
    { sql: "DO ?", values: [undefined] },
    { sql: "DO ?", values: [Number.NaN] },
    { sql: "DO ?", values: [new Date(1)] },
    { sql: "DO ?", values: [new Date(2)] },
    { sql: "DO ?", values: [Buffer.alloc(100)] },
    { sql: "DO ?", values: [Buffer.alloc(100, 1)] },
    { at: 1 },
    { at: 2 },
    new Map([[1, 2]]),
    [],
    circular,
    null,
    undefined,
    42,
  ];
  assert.equal(new Set(units.map(hashOf)).size, units.length);
});
