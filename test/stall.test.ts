/** A network that swallows packets without an error. Each statement of the command's own must end by its timeout. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { probeServer } from "../lib/command/probe.ts";
import { doWork, type RunError, type Summary, type WorkOptions } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { useDatabase } from "./database.ts";
import { startProxy } from "./proxy.ts";

const database = await useDatabase();
const { db, sql } = database;
await sql("CREATE TABLE t (id INT PRIMARY KEY, v INT) ENGINE = InnoDB");
await sql("CREATE TABLE plain (id INT PRIMARY KEY) ENGINE = MyISAM");
await sql("CREATE TABLE careless (id INT)");

for (const [what, pattern] of [
  ["the first statement", /SET AUTOCOMMIT/],
  ["DO 0", /DO 0$/],
  ["SELECT VERSION()", /SELECT VERSION/],
] as const) {
  test(`the probe ends although ${what} is swallowed`, async (t) => {
    const proxy = await startProxy(t, db.socketPath);
    const hits = proxy.arm(pattern, "swallow");
    const server = { db: { ...db, socketPath: proxy.path }, hosts: [], tlsOptional: false };
    await assert.rejects(
      probeServer(server, 1, undefined, () => {}),
      /: no answer in time$|did not answer within/,
    );
    assert.equal(hits(), 1);
  });
}

for (const [what, pattern, ledger] of [
  ["its database", /SELECT DATABASE/, "fresh"],
  ["its tables without transactions", /t\.table_type = 'BASE TABLE'/, "fresh"],
  ["its columns", /GROUP_CONCAT/, "fresh"],
  ["CREATE TABLE", /CREATE TABLE/, "fresh"],
  ["its engine", /SELECT IF\(\(SELECT/, "old"],
  ["what may be inserted", /FROM DUAL WHERE FALSE/, "old"],
  ["what may be selected", /seq = 0 FOR UPDATE/, "old"],
] as const) {
  test(`opening a ledger ends although the answer about ${what} is swallowed`, async (t) => {
    await doWork(["DO 0"], 1, { ledger: "old" });
    await sql("DROP TABLE IF EXISTS fresh");
    const { hits, run } = await behindProxy(t, pattern, ["DO 1"], { ledger });
    await assert.rejects(run, (error: RunError) => /did not answer within 1 s/.test(error.message));
    assert.equal(hits(), 1);
  });
}

/** Matches the second DO 0, because the first one belongs to the connecting. */
const secondDo = { seen: 0, test: (text: string) => text.endsWith("DO 0") && ++secondDo.seen === 2 };

// After each query, a statement of the worker's own is swallowed. The worker reconnects and reaches the same result.
for (const [what, pattern, query, options, outcome] of [
  [
    "SHOW WARNINGS",
    /SHOW WARNINGS$/,
    "UPDATE t SET v = 1",
    { initCommands: ["SET innodb_lock_wait_timeout = 1"], retries: 0 },
    "failed",
  ],
  [
    "a statement of the session setup",
    /foreign_key_checks/,
    "DO 1",
    { initCommands: ["SET foreign_key_checks = 0"] },
    "done",
  ],
  [
    "a look-up in the ledger",
    /seq = 1 FOR UPDATE/,
    "CREATE TABLE IF NOT EXISTS made (id INT)",
    { ledger: "old" },
    "done",
  ],
  ["a ROLLBACK for the ledger", /ROLLBACK$/, "INSERT INTO plain VALUES (1), (1)", { ledger: "old" }, "failed"],
  [
    "a ROLLBACK for a workerDo()",
    /ROLLBACK$/,
    "a text",
    { script: new URL("./scripts/careless.ts", import.meta.url) },
    "failed",
  ],
  [
    "what tells of an open transaction",
    secondDo,
    "a transaction left open through promise",
    { script: new URL("./scripts/careless.ts", import.meta.url) },
    "unknown",
  ],
] as [string, Pick<RegExp, "test">, string, WorkOptions, keyof Summary][]) {
  test(`a run ends although ${what} is swallowed`, async (t) => {
    await sql("DROP TABLE IF EXISTS old, made; DELETE FROM t; INSERT INTO t VALUES (7, 7)");
    await sql("BEGIN; SELECT * FROM t FOR UPDATE");
    secondDo.seen = 0;
    const { hits, run } = await behindProxy(t, pattern, [query], options);
    const summary = await run;
    await sql("ROLLBACK");
    assert.equal(hits(), 1);
    assert.equal(summary[outcome], 1, JSON.stringify(summary));
  });
}

/** Runs queries with one worker. From the matching statement on, its connection swallows everything. */
async function behindProxy(
  t: Parameters<typeof startProxy>[0],
  pattern: Pick<RegExp, "test">,
  queries: string[],
  options: WorkOptions,
) {
  const proxy = await startProxy(t, db.socketPath);
  const hits = proxy.arm(pattern, "swallow");
  myglobals.config = { db: { ...db, socketPath: proxy.path } };
  t.after(() => {
    myglobals.config = { db };
  });
  return { hits, run: doWork(queries, 1, { connectTimeoutSeconds: 1, ...options } as WorkOptions & { script: URL }) };
}
