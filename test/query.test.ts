import assert from "node:assert/strict";
import { test } from "node:test";
import { describeValues } from "../lib/features/joblog/journal-lines.ts";
import { describeUnit } from "../lib/shared/query.ts";

test("describeUnit() returns the beginning of a query in one line", () => {
  assert.equal(describeUnit("SELECT 1,\n\t  2"), "SELECT 1, 2");
  assert.equal(describeUnit({ sql: "DO ?", values: [1] }), "DO ?");
  assert.equal(describeUnit({ file: "a.txt" }), "{ file: 'a.txt' }");
  assert.equal(describeUnit("x".repeat(1000)).length, 200);
});

test("describeValues() returns the beginning of a query's values in one line", () => {
  assert.equal(
    describeValues({ sql: "DO ?", values: [1, null, "a\nb", Buffer.from("x")] }),
    "[ 1, null, 'a\\nb', <Buffer 78> ]",
  );
  for (const unit of ["DO 1", { sql: "DO 1" }, { file: "a.txt", values: [1] }, null]) {
    assert.equal(describeValues(unit), undefined);
  }
  const long = describeValues({ sql: "DO ?", values: ["x".repeat(1000), ...Array(1000).fill(1)] })!;
  assert.match(long, /^\[ 'x{60}'\.\.\. 940 more characters, 1, 1, /);
  assert.ok(long.length <= 400);
});
