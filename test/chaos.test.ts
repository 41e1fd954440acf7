/** Faults during a run: killed servers, connections and threads. The reported outcome of each query must agree with the table. */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { doWork, type Ended, type RunError, type Summary, type WorkOptions } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { deadlocks, status, useDatabase } from "./database.ts";
import { startProxy } from "./proxy.ts";
import { generator, seed } from "./random.ts";
import { poll } from "./run.ts";
import { scaled } from "./soak.ts";
import { numbers } from "./target.ts";
import { captureThreads, silent } from "./watch.ts";

const rows = scaled(20_000, 2000);
/** The count of ended queries at which most faults happen. It is far from the end, because the count is reported late. */
const early = rows / 4;
const random = generator(seed);

// With 2, InnoDB writes its log at each commit, so a commit survives a kill of the server.
const database = await useDatabase(["--innodb-flush-log-at-trx-commit=2"]);
const { sql, db } = database;
await database.restart(); // a new server cannot recover after a kill before its first clean shutdown

test("doWork() reports true outcomes when the server is killed half-way and restarted", async () => {
  const summary = await updateAll({
    onCount: { [early]: () => restart() },
  });
  assert.ok(summary.done >= rows - 8, `${summary.done} done`);
  assert.equal(summary.skipped, 0);
  async function restart() {
    database.kill();
    await database.restart();
  }
});

for (const batch of [1, 16])
  test(`doWork() reports true outcomes while connections are killed all the time, in batches of ${batch}`, async () => {
    let over = false;
    let kills = 0;
    const killing = (async () => {
      while (!over) {
        const list = await sql<{ id: number }>(
          "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND db = 'myscript'",
        );
        const victim = list[Math.floor(random() * list.length)];
        if (victim)
          await sql(`KILL CONNECTION ${victim.id}`).then(
            () => kills++,
            () => {},
          );
        await sleep(random() * 10);
      }
    })();
    const summary = await updateAll({ batch });
    over = true;
    await killing;
    assert.ok(kills > 0);
    assert.equal(summary.done + summary.unknown, rows);
    assert.ok(summary.failures.every(({ outcome }) => outcome === "unknown"));
  });

test("doWork() reports true outcomes while threads are killed", async (t) => {
  const alive = captureThreads(t);
  let deaths = 0;
  const kill = () => {
    const threads = [...alive];
    void threads[Math.floor(random() * threads.length)]?.terminate();
    deaths++;
  };
  const onCount = Object.fromEntries([0.1, 0.25, 0.4, 0.55, 0.7, 0.85].map((part) => [part * rows, kill]));
  const summary = await updateAll({ onCount });
  assert.equal(deaths, 6);
  assert.equal(summary.done + summary.unknown, rows);
  assert.ok(summary.unknown <= 6 * 4, `${summary.unknown} unknown`);
  assert.match(summary.failures[0]?.message ?? "Its thread died", /^Its thread died/);
});

test("doWork() with idempotent retries queries that a dead thread or connection had in flight", async (t) => {
  const alive = captureThreads(t);
  // Twice, because a unit whose thread dies for the third time is not retried.
  const onCount = Object.fromEntries(
    [0.15, 0.45].map((part) => [part * rows, () => [...alive][0]?.terminate() as unknown]),
  );
  onCount[0.75 * rows] = () =>
    sql("SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()").then(async (list) => {
      for (const { id } of list) await sql(`KILL CONNECTION ${id}`).catch(() => {});
    });
  const summary = await updateAll({ onCount, idempotent: true, update: "v = 1" });
  assert.equal(summary.done, rows);
});

test("doWork() with idempotent does not retry a query that had output rows when its thread died", async (t) => {
  const alive = captureThreads(t);
  let pieces = 0;
  const onRows = () => {
    if (pieces++ === 0) for (const thread of alive) void thread.terminate();
  };
  const big = `SELECT seq, REPEAT('x', 1000) FROM ${numbers(100_000)}`;
  const { done, unknown } = await doWork([big], 1, { idempotent: true, onRows });
  assert.deepEqual([done, unknown], [0, 1]);
});

test("doWork() with idempotent never reports a query that may have run as failed or skipped", async () => {
  await sql(
    `DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(2)}`,
  );
  for (const drain of [false, true]) {
    const controller = new AbortController();
    let killed: Promise<unknown> | undefined;
    const update: typeof silent.update = async () => {
      const [slow] = await sql<{ id: number }>(
        "SELECT id FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%' AND state = 'User sleep'",
      ).catch(() => []);
      if (!slow || killed) return;
      if (drain) controller.abort();
      killed ??= sql(`KILL CONNECTION ${slow.id}`);
    };
    const options = { idempotent: true, retries: drain ? 10 : 0, signal: controller.signal };
    const summary = await doWork(["DO SLEEP(3600)"], 1, { ...options, progress: { ...silent, update } });
    await killed;
    assert.deepEqual([summary.unknown, summary.failed, summary.skipped], [1, 0, 0]);
  }
});

test("doWork() retries deadlocks until every query is done", async () => {
  await sql(
    `DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(20)}`,
  );
  const queries = Array.from({ length: 2000 }, (_, n) => {
    const order = n % 2 ? "ASC" : "DESC";
    return `UPDATE t SET v = v + 1 WHERE id BETWEEN ${1 + (n % 3)} AND ${18 + (n % 3)} ORDER BY id ${order}`;
  });
  const summary = await doWork(queries, 8, { threads: 2, retries: 1000 });
  assert.equal(summary.done, 2000);
  const count = await deadlocks(sql);
  assert.ok(count > 0, "there were deadlocks");
  assert.ok(summary.retries >= count);
  assert.deepEqual(await sql("SELECT MIN(v) AS low, MAX(v) AS high FROM t WHERE id BETWEEN 3 AND 18"), [
    { low: 2000, high: 2000 },
  ]);
});

test("doWork() retries a query that waits for a lock until it gets it, and fails after the last of its retries", async () => {
  await sql(
    `DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(20)}`,
  );
  await sql("SET GLOBAL innodb_lock_wait_timeout = 1; BEGIN; UPDATE t SET v = 0 WHERE id = 1");
  const queries = ["UPDATE t SET v = v + 1 WHERE id = 1", "UPDATE t SET v = v + 1 WHERE id = 2"];
  const refused = await doWork(queries, 2, { retries: 1 });
  assert.deepEqual([refused.done, refused.failed, refused.retries], [1, 1, 1]);
  assert.equal(refused.failures[0]?.code, "ER_LOCK_WAIT_TIMEOUT");
  const waiting = doWork(queries, 2, { progress: { ...silent, update: release } });
  let released: Promise<unknown> | undefined;
  function release({ inFlight }: Parameters<(typeof silent)["update"]>[0]) {
    if (inFlight().some(({ tries }) => tries > 1)) released ??= sql("COMMIT");
  }
  const summary = await waiting;
  await released;
  assert.deepEqual([summary.done, summary.failed], [2, 0]);
  assert.ok(summary.retries > 0);
  assert.deepEqual(await sql("SELECT id, v FROM t WHERE id <= 2"), [
    { id: 1, v: 1 },
    { id: 2, v: 2 },
  ]);
});

test("doWork() drains when its signal is aborted: queries in flight end, the rest is skipped", async () => {
  const controller = new AbortController();
  const summary = await updateAll({ signal: controller.signal, onCount: { [early]: () => controller.abort() } });
  assert.equal(summary.reason, "interrupted");
  assert.equal(summary.unknown + summary.failed, 0);
  assert.ok(summary.skipped > 0 && summary.done >= early);
});

test("doWork() interrupts queries in flight on the server when its kill signal is aborted", async () => {
  await sql(
    `DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(20)}`,
  );
  await sql("LOCK TABLES t WRITE"); // each query waits for it
  const states = "SELECT 1 FROM information_schema.processlist WHERE state = 'Waiting for table metadata lock'";
  const waiting = async () => (await sql(states)).length;
  const controller = new AbortController();
  const update: typeof silent.update = ({ inFlight }) => {
    if (inFlight().length === 8) waiting().then((count) => count === 8 && controller.abort());
  };
  const queries = Array.from({ length: 20 }, (_, n) => `UPDATE t SET v = v + 1 WHERE id = ${n + 1}`);
  const summary = await doWork(queries, 8, { killSignal: controller.signal, progress: { ...silent, update } });
  assert.deepEqual([summary.failed, summary.skipped, summary.done, summary.unknown], [8, 12, 0, 0]);
  assert.equal(summary.failures[0]?.code, "ER_QUERY_INTERRUPTED");
  assert.equal(await waiting(), 0);
  await sql("UNLOCK TABLES");
  assert.deepEqual(await sql("SELECT SUM(v) AS sum FROM t"), [{ sum: "0" }]);
});

test("doWork() ends after its kill signal even if the network has stalled", async (t) => {
  const proxy = await startProxy(t, db.socketPath);
  const controller = new AbortController();
  const summary = await updateAll({
    through: proxy.path,
    killSignal: controller.signal,
    onCount: {
      [early]: () => {
        proxy.stall();
        controller.abort();
      },
    },
  });
  assert.ok(summary.unknown <= 8);
  assert.ok(summary.skipped > 0);
});

test("doWork() with a time limit leaves no query running, and keeps the connection", async () => {
  const queries = [
    "SELECT SLEEP(3600)",
    "INSERT INTO used VALUES (CONNECTION_ID())",
    "INSERT INTO used VALUES (CONNECTION_ID())",
  ];
  await sql("DROP TABLE IF EXISTS used; CREATE TABLE used (id INT)");
  const summary = await doWork([queries[1]!, queries[0]!, queries[2]!], 1, { timeoutSeconds: 0.3 });
  assert.deepEqual([summary.done, summary.failed], [2, 1]);
  assert.match(summary.failures[0]?.message ?? "", /interrupted.*time limit of 0\.3 s/);
  assert.deepEqual(await sql("SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS connections FROM used"), [
    { n: 2, connections: 1 },
  ]);
  assert.deepEqual(
    await sql("SELECT COUNT(*) AS n FROM information_schema.processlist WHERE info LIKE '%SLEEP(3600)'"),
    [{ n: 0 }],
  );
});

test("doWork() with a time limit drops a connection on which no answer comes", async (t) => {
  const proxy = await startProxy(t, db.socketPath);
  const summary = await updateAll({
    through: proxy.path,
    timeoutSeconds: 1,
    onCount: {
      [early]: () => {
        proxy.stall();
        setTimeout(() => proxy.resume(), 8000); // longer than the time limit and the grace period
      },
    },
  });
  assert.ok(summary.unknown > 0 && summary.unknown <= 8, `${summary.unknown} unknown`);
  assert.equal(summary.done + summary.unknown, rows);
});

test("doWork() reports true outcomes when connections are cut in the middle of a packet", async (t) => {
  const proxy = await startProxy(t, db.socketPath);
  let cuts = 0;
  const cut = () => {
    proxy.cut(random);
    cuts++;
  };
  const onCount = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [(rows / 40) * (n + 1), cut]));
  const summary = await updateAll({ through: proxy.path, onCount });
  assert.equal(cuts, 30);
  assert.equal(summary.done + summary.unknown, rows);
});

test("doWork() drains when as many queries as maxFailures have failed", async () => {
  const queries = Array.from({ length: 10_000 }, (_, n) => (n % 10 ? "DO 0" : "no sql"));
  const summary = await doWork(queries, 4, { maxFailures: 5 });
  assert.ok(summary.failed >= 5);
  assert.ok(summary.skipped > 0);
  assert.equal(summary.total, 10_000);
  assert.match(summary.reason ?? "", /^too many failures: \d+ failed, 0 unknown$/);
});

test("doWork() runs with the workers that got a connection, and ends if none gets one", async () => {
  const lines: string[] = [];
  const progress = { ...silent, log: (line: string) => void lines.push(line) };
  database.kill(); // with some killed connections left, MySQL 5.7 does not shut down
  await database.restart();
  await sql("SET GLOBAL connect_timeout = 3600"); // the server must not drop the held connections, which never log in
  await sql("SET GLOBAL max_connections = 10"); // one of the 10 is this test's. The server reserves one more for an administrator
  const held = await Promise.all(Array.from({ length: 6 }, () => connectTo(db.socketPath)));
  const some = await updateAll({ connectTimeoutSeconds: 1, progress });
  assert.equal(some.done, rows);
  assert.ok(some.workers > 0 && some.workers < 8, `${some.workers} workers`);
  assert.match(lines.join("\n"), /^Too many connections: trying again for up to 1 s$/m);
  await poll(async () => (await status(database, "Threads_connected")) === held.length + 1); // the workers have disconnected
  held.push(...(await Promise.all(Array.from({ length: 8 }, () => connectTo(db.socketPath)))));
  const error = await doWork(["DO 0"], 2, { connectTimeoutSeconds: 0.5 }).catch((error: RunError) => error);
  assert.equal((error as RunError).message, "Too many connections");
  assert.equal((error as RunError).summary.skipped, 1);
  for (const socket of held) socket.destroy();
  await sql("SET GLOBAL max_connections = 500");
  await sql("SET GLOBAL connect_timeout = 10");
});

for (const [how, message] of [
  ["exit", "it ended with exit code 7"],
  ["throw", "Error: thrown in a timer"],
  ["reject", "Error: rejected and never awaited"],
  ["memory", /ERR_WORKER_OUT_OF_MEMORY|out of memory|memory limit/i],
] as const) {
  test(`doWork() goes on when a thread dies: ${how}`, async (t) => {
    if (how === "memory") {
      setFlagsFromString("--max-old-space-size=256"); // for threads that start from now on
      t.after(() => setFlagsFromString("--max-old-space-size=0")); // 0 is V8's default
    }
    const script = new URL("./scripts/die.ts", import.meta.url);
    const units = Array.from({ length: 40 }, (_, n) => (n === 20 ? how : "live"));
    const summary = await doWork(units, 2, { threads: 1, script });
    assert.equal(summary.total, 40);
    assert.ok(summary.unknown === 1 || summary.unknown === 2, "the one that kills, and what the other worker had");
    assert.equal(summary.done, 40 - summary.unknown);
    const killer = summary.failures.find(({ seq }) => seq === 21);
    assert.equal(killer?.outcome, "unknown");
    assert.equal(killer?.code, "THREAD_DIED");
    if (typeof message === "string") assert.equal(killer?.message, `Its thread died: ${message}`);
    else assert.match(killer?.message ?? "", message);
  });
}

test("a unit that is text goes on after a thread has died, though it looks like SQL that reads a variable", async () => {
  const script = new URL("./scripts/die.ts", import.meta.url);
  const { done, unknown, reason } = await doWork(["exit", "SELECT @x", "live"], 1, { script });
  assert.deepEqual([done, unknown, reason], [2, 1, undefined]);
});

test("doWork() ends with the cause when every thread dies", async () => {
  const script = new URL("./scripts/stillborn.ts", import.meta.url);
  const error = await doWork(["a", "b"], 2, { script }).catch((error: RunError) => error);
  assert.equal((error as RunError).message, "Threads die before they finish anything: it ended with exit code 9");
  assert.equal((error as RunError).summary.skipped, 2);
});

test("doWork() skips the rest and reports the reason when the server is stopped for good", async () => {
  const summary = await updateAll({
    connectTimeoutSeconds: 1,
    onCount: { [early]: () => database.kill() },
    beforeCheck: () => database.restart(),
  });
  assert.ok(summary.skipped > 0);
  assert.match(summary.reason ?? "", /ENOENT|ECONNREFUSED|Connection lost|closed state/);
});

interface Chaos extends WorkOptions {
  /** Faults, by the number of ended queries at which they happen. */
  onCount?: Record<number, () => unknown>;
  /** The socket of a proxy, instead of the server's. */
  through?: string;
  update?: string;
  beforeCheck?: () => Promise<void>;
}

/** Updates each row by its own query, and asserts that each row agrees with the outcome of its query. */
async function updateAll({
  onCount = {},
  through,
  update = "v = v + 1",
  beforeCheck,
  ...options
}: Chaos): Promise<Summary> {
  await sql(
    `DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(rows)}`,
  );
  const outcomes = new Map<number, Ended>();
  const happening: unknown[] = [];
  const queries = Array.from({ length: rows }, (_, n) => `UPDATE t SET ${update} WHERE id = ${n + 1}`);
  const onEnded = (ended: Ended) => {
    assert.ok(!outcomes.has(ended.seq), `query ${ended.seq} ended twice`);
    outcomes.set(ended.seq, ended);
    happening.push(onCount[outcomes.size]?.());
  };
  myglobals.config = { db: { ...db, socketPath: through ?? db.socketPath } };
  const summary = await doWork(queries, 8, { threads: 2, onEnded, ...options });
  myglobals.config = { db };
  await Promise.all(happening);
  await beforeCheck?.();

  const counts = { done: 0, failed: 0, unknown: 0, skipped: 0 };
  for (const { id, v } of await sql<{ id: number; v: number }>("SELECT id, v FROM t")) {
    const outcome = outcomes.get(id)?.outcome ?? "skipped"; // `onEnded` is not called for a query that no worker took
    counts[outcome]++;
    const right = outcome === "done" ? v === 1 : outcome === "unknown" ? v === 0 || v === 1 : v === 0;
    assert.ok(right, `row ${id} is ${v}, and its query is ${outcome}: ${JSON.stringify(outcomes.get(id))}`);
  }
  const { total, done, failed, unknown, skipped } = summary;
  assert.deepEqual({ done, failed, unknown, skipped }, counts);
  assert.equal(total, rows);
  return summary;
}

async function connectTo(path: string): Promise<net.Socket> {
  const socket = net.connect(path);
  socket.on("error", () => {});
  await once(socket, "data"); // the server's greeting or its error
  return socket;
}

test("doWork() reports the reason of each failed unit while threads die", async () => {
  const count = scaled(4000, 2000);
  const units = Array.from({ length: count }, (_, n) => (n === 1000 ? "exit" : "fail"));
  const script = new URL("./scripts/die.ts", import.meta.url);
  const reasons = new Map<string, number>();
  const onEnded = ({ failure }: Ended) => reasons.set(failure!.code, (reasons.get(failure!.code) ?? 0) + 1);
  const { failed, unknown } = await doWork(units, 32, { threads: 4, script, onEnded });
  assert.equal(failed + unknown, count);
  assert.equal(reasons.get("THREAD_DIED"), unknown);
  assert.equal(reasons.get("Error"), failed);
});

test("doWork() with idempotent stops retrying a unit that ends one thread after the other, and runs the others", async () => {
  const script = new URL("./scripts/die.ts", import.meta.url);
  const { done, unknown } = await doWork(["exit", ...Array<string>(300).fill("x")], 1, { script, idempotent: true });
  assert.deepEqual([done, unknown], [300, 1]);
});

test("doWork() with one worker keeps the order when a unit is run again after its thread died", async () => {
  const count = 6000; // more than a segment
  const order = new Int32Array(new SharedArrayBuffer((count + 2) * 4)); // [0] is 1 after the thread ended, the last element counts the units
  Object.assign(myglobals.config, { order, endAt: 100 });
  const script = new URL("./scripts/order.ts", import.meta.url);
  const units = Array.from({ length: count }, (_, n) => n + 1);
  const { done } = await doWork(units, 1, { script, idempotent: true });
  assert.deepEqual([done, order[0]], [count, 1]);
  assert.deepEqual([...order.subarray(1, count + 1)], Array.from(units.keys()));
});

test("doWork() ends when it is interrupted while a dead thread's unit waits to be run again", async () => {
  const script = new URL("./scripts/die.ts", import.meta.url);
  const interruption = new AbortController();
  let ended = 0;
  const onEnded = () => ++ended === 1000 && interruption.abort();
  const options = { script, idempotent: true, signal: interruption.signal, onEnded };
  const { total, done, unknown, skipped } = await doWork(["exit", ...Array<string>(3000).fill("x")], 1, options);
  assert.deepEqual([total, done + unknown + skipped, unknown], [3001, 3001, 1]);
});
