/** Servers that accept no writes for a while, as during a failover. A run waits for them as for an unreachable server. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { doWork, type Query, type WorkOptions } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import type { Snapshot } from "../lib/parent/figures.ts";
import { runHere } from "./command.ts";
import { poll } from "./run.ts";
import { startServer } from "./server.ts";
import { target } from "./target.ts";
import { silent } from "./watch.ts";

const servers = await Promise.all([startServer({ args: ["--secure-file-priv=/nonexistent"] }), startServer()]);
const [server, other] = servers as [(typeof servers)[0], (typeof servers)[0]];
after(() => Promise.all(servers.map(({ stop }) => stop())));
for (const { root } of servers) {
  await root.query("CREATE USER app");
  await root.query("GRANT ALL ON myscript.* TO app");
  await root.query("CREATE TABLE myscript.t (id INT PRIMARY KEY)");
  await root.query("CREATE PROCEDURE myscript.add_one(n INT) SQL SECURITY INVOKER INSERT INTO t VALUES (n)");
}
await server.root.query("GRANT FILE ON *.* TO app");
const hosts = servers.map(({ port }) => ({ host: "127.0.0.1", port }));
const db = { ...hosts[0], user: "app", database: "myscript" };
const readOnly = /is running with the --read-only option/;
const set = (isReadOnly: 0 | 1, at = server) => at.root.query(`SET GLOBAL read_only = ${isReadOnly}`);

async function count(at = server): Promise<number> {
  const [rows] = await at.root.query("SELECT COUNT(*) AS n FROM myscript.t");
  return (rows as { n: number }[])[0]!.n;
}

/** Runs queries on a read-only server. Unless `stays`, the server accepts writes again when the bar shows that they wait. */
async function workInWindow(queries: readonly Query[], workers: number, options: WorkOptions = {}, stays = false) {
  await server.root.query("DELETE FROM myscript.t");
  await server.root.query("DROP TABLE IF EXISTS myscript.window_ledger");
  let waiting = "";
  const update = (snapshot: Snapshot) => {
    waiting = snapshot.waiting ?? "";
  };
  const read = async function* () {
    yield "DO 0";
    await set(1);
    yield* queries;
    if (!stays) await poll(() => /^(?:\d of \d workers )?waiting for \d+ s: .*--read-only/.test(waiting));
    if (!stays) await set(0);
  };
  myglobals.config = { db };
  const summary = await doWork(read(), workers, { retries: 0, ...options, progress: { ...silent, update } });
  await set(0);
  return summary;
}

const inserts = (most: number) => Array.from({ length: most }, (_, n) => `INSERT INTO t VALUES (${n})`);

for (const [way, options] of [
  ["one by one", {}],
  ["in batches", { batch: 8 }],
  ["by a workerDo() of the script's own", { script: new URL("./scripts/inserts.ts", import.meta.url) }],
  ["with a ledger", { ledger: "window_ledger" }],
  ["with a ledger and in batches", { ledger: "window_ledger", batch: 8 }],
] as [string, WorkOptions][]) {
  test(`queries that run ${way} wait for the end of a read-only window, and use up no retry`, async () => {
    const summary = await workInWindow([...inserts(20), "CALL add_one(20)"], 2, options);
    assert.deepEqual([summary.done, await count()], [22, 21]);
    assert.equal(summary.retries, 0);
    assert.match(summary.waited![0]!.reason, readOnly);
    assert.ok(summary.waited![0]!.seconds > 0);
  });
}

test("a CALL that was refused has failed, because it may have run in part, and the next one waits", async () => {
  const calls = Array.from({ length: 20 }, (_, n) => `CALL add_one(${n})`);
  const { done, failed, failures } = await workInWindow(calls, 2);
  assert.deepEqual([done, failed, await count()], [19, 2, 18]);
  assert.ok(failures.every(({ errno }) => errno === 1290));
});

test("a transaction of the input goes on after a read-only window", async () => {
  const { done } = await workInWindow(["BEGIN", ...inserts(3), "COMMIT"], 1);
  assert.deepEqual([done, await count()], [6, 3]);
});

test("a run waits if the server's default makes transactions read-only, and not if the session does", async () => {
  const variable = target.isMariaDB || target.version < 8 ? "tx_read_only" : "transaction_read_only";
  await server.root.query("DELETE FROM myscript.t");
  await server.root.query(`SET GLOBAL ${variable} = 1`);
  myglobals.config = { db };
  const waits = doWork(inserts(3), 2, {
    retries: 0,
    progress: {
      ...silent,
      log: (line) => void (/again/.test(line) && server.root.query(`SET GLOBAL ${variable} = 0`)),
    },
  });
  assert.equal((await waits).done, 3);
  const own = await doWork(inserts(3), 2, { retries: 0, initCommands: ["SET SESSION TRANSACTION READ ONLY"] });
  assert.deepEqual([own.failed, own.waited, own.workers], [3, undefined, 2]);
});

test("the first of several read-only servers that accepts writes is used", async () => {
  await Promise.all([set(1), set(1, other)]);
  await other.root.query("DELETE FROM myscript.t");
  myglobals.config = { db: { user: "app", database: "myscript" } };
  const log = (line: string) => void (/trying again/.test(line) && set(0, other));
  const { done, retries } = await doWork(inserts(50), 4, { hosts, retries: 0, progress: { ...silent, log } });
  await set(0);
  assert.deepEqual([done, retries, await count(other)], [50, 0, 50]);
});

test("a server that stays read-only ends the run after one connect timeout for all queries; queries that only read run", async () => {
  const queries = ["SELECT 1", ...inserts(20), ...Array(20).fill("SELECT 1")];
  for (const options of [{}, { batch: 8 }, { ledger: "window_ledger" }]) {
    const summary = await workInWindow(queries, 4, { connectTimeoutSeconds: 1, ...options }, true);
    assert.match(summary.reason!, /^No server takes writes: .*--read-only/);
    assert.deepEqual([summary.failed, summary.unknown], [4, 0]);
    assert.ok(summary.failures.every(({ errno }) => errno === 1290));
    assert.ok(summary.skipped > 0 && summary.seconds < 20, `${summary.seconds} s`);
    assert.ok(options.ledger || summary.done >= 2);
  }
});

test("opening the ledger waits for a server that accepts writes, and reports that", async () => {
  await set(1);
  const args = ["-h", "127.0.0.1", "-P", String(server.port), "-u", "app", "-D", "myscript", "--ledger", "opened"];
  const { status, stderr } = await runHere([...args, "--connect-timeout", "1", "-"], { input: "DO 0" });
  assert.equal(status, 2);
  assert.match(stderr, /^the ledger: .*--read-only.*: trying again for up to 1 s$/m);
  assert.match(stderr, /^myscript: Cannot use the ledger "opened": .*--read-only/m);
  myglobals.config = { db };
  const log = (line: string) => void (/trying again/.test(line) && set(0));
  const { done, waited } = await doWork(["DO 0"], 1, { ledger: "opened", progress: { ...silent, log } });
  assert.equal(done, 1);
  assert.match(waited![0]!.reason, readOnly);
});

test("a query that an option of the server forbids fails at once", async () => {
  myglobals.config = { db };
  const { failures, waited } = await doWork(["SELECT 1 INTO OUTFILE '/tmp/myscript-no'"], 1, { retries: 3 });
  assert.deepEqual([failures[0]!.errno, waited], [1290, undefined]);
});
