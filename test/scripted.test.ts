/** A script's own `workerDo()` is not trusted: what it leaves behind is not done, and whatever it throws is told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { doWork, type Summary } from "../lib/mp.ts";
import type { Snapshot } from "../lib/parent/progress.ts";
import { useDatabase } from "./database.ts";
import type { Way } from "./scripts/careless.ts";
import { silent } from "./watch.ts";

const database = await useDatabase();
const script = new URL("./scripts/careless.ts", import.meta.url);
await database.sql("CREATE TABLE careless (id INT)");

const notAwaited = "LEFT_BEHIND: workerDo() returned before its query ended: await it";
const notCommitted = "LEFT_BEHIND: workerDo() left a transaction open: COMMIT it";
const wrong: [way: Way, told: RegExp | string][] = [
  ["a query that is not awaited", notAwaited],
  ["a promise that is not awaited", notAwaited],
  ["a promise that rejects later", notAwaited],
  ["a transaction left open through execute", notCommitted],
  ["a transaction left open through query", notCommitted],
  ["a transaction left open through promise", notCommitted],
  ["autocommit switched off", notCommitted],
  ["undefined", "Error: workerDo() rejected with undefined"],
  ["a text", "Error: workerDo() rejected with no luck"],
  ["an object", "Error: workerDo() rejected with { reason: 7 }"],
  ["a message that is a number", "Error: 7"],
  ["a code that is a function", "Error: no luck"],
  ["an errno that is a text", "Error: no luck"],
  ["a symbol", "Error: workerDo() rejected with Symbol(no luck)"],
  ["a revoked proxy", /^Error: workerDo\(\) rejected with /],
  ["an object that throws when it is looked at", /^Error: workerDo\(\) rejected with /],
  ["a value that cannot be sent", /^TypeError: /],
];

for (const [way, told] of wrong) {
  test(`a workerDo() with ${way} has failed, and disturbs nothing else`, async () => {
    await database.sql("TRUNCATE careless");
    const summary = await doWork<Way>([way, "nothing wrong"], 1, { script });
    const { failures, done, failed } = summary;
    assert.deepEqual([done, failed], [1, 1], JSON.stringify(summary));
    const text = `${failures[0]!.code}: ${failures[0]!.message.replace(/ \(.*\)$/, "")}`;
    if (typeof told === "string") assert.equal(text, told);
    else assert.match(text, told);
    if (told === notCommitted) assert.equal((await database.sql("SELECT * FROM careless")).length, 1);
  });
}

test("a workerDo() hears of its time limit by its signal, and what takes no notice ends with its thread", async () => {
  const options = { script, timeoutSeconds: 0.2 };
  const { failures, done }: Summary = await doWork<Way>(
    ["a query until the signal", "no end at all", "nothing wrong"],
    1,
    options,
  );
  assert.equal(done, 1);
  assert.deepEqual(
    failures.map(({ seq, outcome }) => [seq, outcome]),
    [
      [1, "failed"],
      [2, "unknown"],
    ],
  );
  assert.equal(failures[0]!.message, "Time limit of 0.2 s");
  assert.match(failures[1]!.message, /workerDo\(\) did not end within 0\.2 s, nor when its signal was aborted/);
});

test("a workerDo() hears of a run's killing by its signal, and has failed with what it throws then", async () => {
  const kill = new AbortController();
  let isKilled = false;
  const progress = {
    ...silent,
    update({ inFlight }: Snapshot) {
      if (isKilled || inFlight().length < 2) return;
      isKilled = true;
      kill.abort();
    },
  };
  const units: Way[] = ["an end with the signal's reason", "a query until the signal", "nothing wrong"];
  const { failures, skipped } = await doWork<Way>(units, 2, { script, killSignal: kill.signal, progress });
  assert.deepEqual(
    failures.map(({ outcome, message }) => [outcome, message]),
    [1, 2].map(() => ["failed", "The run was interrupted"]),
  );
  assert.equal(skipped, 1);
});
