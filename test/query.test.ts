import assert from "node:assert/strict";
import { test } from "node:test";
import { describeUnit } from "../lib/shared/query.ts";

test("describeUnit() shows the beginning of a query on one line", () => {
  assert.equal(describeUnit("SELECT 1,\n\t  2"), "SELECT 1, 2");
  assert.equal(describeUnit({ sql: "DO ?", values: [1] }), "DO ?");
  assert.equal(describeUnit({ file: "a.txt" }), "{ file: 'a.txt' }");
  assert.equal(describeUnit("x".repeat(1000)).length, 200);
});
