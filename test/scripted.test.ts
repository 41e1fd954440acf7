/** A script's own `workerDo()` that makes mistakes. Work that it leaves open is not done, and any thrown value is reported. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { goingOn } from "../lib/command/going-on.ts";
import { reportLines } from "../lib/command/report.ts";
import { doWork, type Summary } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import type { Snapshot } from "../lib/parent/figures.ts";
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
  ["an error with causes", "TypeError: fetch failed: no route: cable"],
  ["several errors", "AggregateError: All promises were rejected: no 1; no 2; no 3; and 2 more"],
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

test("a workerDo() that throws a RetryError is rolled back and retried, at most --retries times", async () => {
  await database.sql("TRUNCATE careless");
  const units: Way[] = ["another try, twice", "another try, always"];
  const { done, failed, retries, rows, failures } = await doWork<Way>(units, 1, { script, retries: 3 });
  assert.deepEqual([done, failed, retries, rows], [1, 1, 5, 1]);
  assert.match(failures[0]!.message, /^not yet: HTTP 429 \(test\/scripts\/careless\.ts:\d+\)$/);
  assert.equal((await database.sql("SELECT * FROM careless")).length, 1);
});

test("a workerDo() that returns an invalid number of rows is done, counts no rows, and causes one warning", async () => {
  const lines: string[] = [];
  const progress = { ...silent, log: (line: string) => void lines.push(line) };
  const returned = [5, -1, Number.NaN, 1.5, Number.POSITIVE_INFINITY, 2 ** 60, 7];
  const { done, total, rows } = await doWork<number>(returned, 2, { script, threads: 1, progress });
  assert.deepEqual([done, total, rows], [7, 7, 12]);
  assert.match(lines.join("\n"), /^workerDo\(\) returned (?:-1 for unit 2|NaN for unit 3): it counts as 0 rows, .*$/);
});

test("a workerDo() that takes minutes without a time limit causes one warning", async (t) => {
  const told = new Int32Array(new SharedArrayBuffer(4));
  myglobals.told = told.buffer;
  t.after(() => delete myglobals.told);
  const now = Date.now;
  t.mock.method(Date, "now", () => now() + 301_000); // the parent's clock only
  const lines: string[] = [];
  let updates = 0;
  const progress = {
    ...silent,
    log: (line: string) => void lines.push(line),
    update: () => void (lines.length > 0 && updates++ > 5 && Atomics.store(told, 0, 1)),
  };
  const units: Way[] = ["no end before it is told", "no end before it is told"];
  const { done } = await doWork<Way>(units, 1, { script, progress });
  assert.deepEqual([done, lines], [2, ["unit 1 has been running for 5 minutes: without --timeout, nothing ends it"]]);
});

test("a workerDo()'s units are called units, not queries, in all messages", async () => {
  const lines: string[] = [];
  const options = { script, progress: { ...silent, log: (line: string) => void lines.push(line) } };
  const summary = await doWork<Way>(["a text", "nothing wrong", "an object"], 1, { ...options, maxFailures: 1 });
  const report = reportLines(summary);
  assert.equal(report[1]!.replace(/, in .*/, ""), "0 of 3 units done, 1 failed, 2 skipped");
  assert.match(report.join("\n"), /^unit 1 failed: Error: workerDo\(\) rejected with no luck$/m);
  assert.equal(
    goingOn({ record: "job log", file: "a.log" }).nextSteps(summary).at(-1),
    "what became of each unit is in a.log",
  );
  // Also if no thread has loaded the script by the end of the run.
  assert.equal((await doWork<Way>(["a text"], 1, { script, dryRun() {} })).units, true);
  const onlyInit = new URL("./scripts/once.ts", import.meta.url);
  assert.equal((await doWork(["DO 1"], 1, { script: onlyInit })).units, undefined);
  const error = await doWork<object>([{ f: () => {} }], 1, options).catch((error: Error) => error);
  assert.match((error as Error).message, /^Cannot send unit 1 to a worker: unit\.f is a function/);
  for (const [units, message] of [
    [[{ key: "a" }, "b"], "Cannot run unit 2: it has no key, and those before it have one"],
    [[{ key: "a" }, { key: "a" }], "Cannot run unit 2, a: unit 1 has the same key"],
    [[{ key: "" }], /^Cannot run unit 1: its key must be /],
    ["a", /^Cannot read the queue: it must be an iterable or async iterable, not 'a'$/],
  ] as const) {
    await assert.rejects(doWork(units as Iterable<unknown>, 1, { script, dryRun() {} }), { message });
  }
});

test("a workerDo() gets its time limit by its signal, and one that ignores the signal ends with its thread", async () => {
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

test("a workerDo() gets the kill of a run by its signal, and has failed with the error that it throws then", async () => {
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
