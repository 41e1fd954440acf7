/** Each way of sending queries runs each of them once. `runtimes.ts` runs these tests on every runtime. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { doWork, type WorkOptions } from "../lib/mp.ts";
import { useDatabase } from "./database.ts";

const { sql } = await useDatabase();
const script = new URL("./scripts/inserts.ts", import.meta.url);
const count = 600;

const ways: [way: string, options: WorkOptions][] = [
  ["one by one", {}],
  ["with a time limit", { timeoutSeconds: 60 }],
  ["in batches", { batch: 16 }],
  ["with a ledger", { ledger: "ledger" }],
  ["with a ledger, in batches", { ledger: "ledger", batch: 16 }],
  ["with rows", { onRows: () => {} }],
  ["by a script's own workerDo()", { script }],
];

for (const [way, options] of ways) {
  test(`doWork() runs every query once ${way}, text and values, and reports which one fails`, async () => {
    await sql("DROP TABLE IF EXISTS ledger, odd, ways; CREATE TABLE ways (id INT)");
    const queries = Array.from({ length: count }, (_, index) => {
      const id = index + 1;
      if (id === 300) return "INSERT INTO nowhere VALUES (1)";
      return id % 3 === 0 ? { sql: "INSERT INTO ways VALUES (?)", values: [id] } : `INSERT INTO ways VALUES (${id})`;
    });
    const { done, failed, failures, rows } = await doWork(queries, 4, options as WorkOptions & { script: URL });
    assert.deepEqual([done, failed, rows], [count - 1, 1, count - 1]);
    assert.deepEqual(
      failures.map(({ seq, code }) => [seq, code]),
      [[300, "ER_NO_SUCH_TABLE"]],
    );
    const [found] = await sql("SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM ways");
    assert.deepEqual(found, { n: count - 1, ids: count - 1 });
    const lists = [[1], [1, 2], [], [null]].map((values) => ({ sql: "INSERT INTO ways VALUES (?)", values }));
    const odd = await doWork(lists, 1, { ...options, ...(options.ledger && { ledger: "odd" }) } as typeof options & {
      script: URL;
    });
    const messages = odd.failures.map(({ message }) => message.replace(/ \(.*\)$/, ""));
    const one = (values: number) => `There are 1 placeholders and ${values} values: it takes one for each`;
    assert.deepEqual([odd.done, messages], [2, [one(2), one(0)]]);
    if (!options.ledger) return;
    const again = await doWork(queries, 4, options);
    assert.deepEqual([again.done, again.earlier.done, again.failed], [count - 1, count - 1, 1]);
  });
}

test("a unit's parentPort is its own: messages on it, and its close, do not affect the run", async () => {
  const posts = new URL("./scripts/posts.ts", import.meta.url);
  const units = [
    null,
    7,
    "rows",
    { type: "rows" },
    { type: "segmentLeft" },
    { type: "segmentLeft", id: 1 },
    "close",
    1,
  ];
  const rows: Uint8Array[] = [];
  const { done, total, failures } = await doWork([...units, ...units], 2, {
    script: posts,
    threads: 1,
    onRows: (lines) => void rows.push(lines),
  });
  assert.deepEqual([done, total, failures, rows], [16, 16, [], []]);
});
