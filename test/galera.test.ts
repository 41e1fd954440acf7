/** Runs on a Galera cluster of three nodes, with connections to all of them. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { watchLoad } from "../lib/features/throttle/gates.ts";
import { doWork, type Ended } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { type Cluster, startCluster, whyNoCluster } from "./cluster.ts";
import { inSoak } from "./soak.ts";
import { gateOf } from "./watch.ts";

const skip = inSoak || ((await whyNoCluster()) ?? false);
let cluster: Cluster;

before(async () => {
  if (skip) return;
  cluster = await startCluster();
  await cluster.nodes[0].sql("CREATE DATABASE shop");
  myglobals.config = { db: { user: "root", database: "shop" } };
});

after(() => cluster?.stop());

test("doWork() retries the conflicts of a cluster until every query is done", { skip }, async () => {
  const [first] = cluster.nodes;
  await first.sql(
    "CREATE TABLE shop.counters (id INT PRIMARY KEY, v INT NOT NULL); INSERT INTO shop.counters VALUES (1, 0), (2, 0)",
  );
  const queries = Array.from({ length: 600 }, (_, n) => `UPDATE counters SET v = v + 1 WHERE id = ${1 + (n % 2)}`);
  const summary = await doWork(queries, 9, { hosts: cluster.nodes, retries: 1000 });
  assert.equal(summary.done, 600, JSON.stringify(summary.failures.slice(0, 3)));
  assert.ok(summary.retries > 0, "there were conflicts");
  for (const node of cluster.nodes) {
    assert.deepEqual(await synced(node, "SELECT v FROM shop.counters ORDER BY id"), [{ v: 300 }, { v: 300 }]);
  }
});

test("doWork() with a ledger updates each row once while a node is killed half-way, and comes back", {
  skip,
  timeout: 180_000,
}, async () => {
  const rows = 6000;
  const [first, killed] = cluster.nodes;
  await first.sql(
    `CREATE TABLE shop.t (id INT PRIMARY KEY, v INT NOT NULL); INSERT INTO shop.t SELECT seq, 0 FROM shop.seq_1_to_${rows}`,
  );
  const outcomes = new Map<number, Ended["outcome"]>();
  const lines: string[] = [];
  let back: Promise<void> | undefined;
  let isBack = false;
  async function* queries() {
    for (let id = 1; id <= rows; id++) {
      // The last third waits until the killed node runs again.
      while (id > (rows / 3) * 2 && !isBack) await sleep(50);
      yield `UPDATE t SET v = v + 1 WHERE id = ${id}`;
    }
  }
  const summary = await doWork(queries(), 9, {
    hosts: cluster.nodes,
    onEnded({ seq, outcome }) {
      assert.ok(!outcomes.has(seq), `query ${seq} ended twice`);
      outcomes.set(seq, outcome);
      if (outcomes.size >= rows / 3) back ??= killAndRestart();
    },
    progress: { update() {}, log: (line) => void lines.push(line), report() {}, stop() {} },
    ledger: "myscript_ledger",
  });
  await back;
  assert.equal(summary.done, rows, JSON.stringify([summary.failures.slice(0, 3), lines]));
  assert.ok(
    lines.some((line) => line.startsWith(`127.0.0.1:${killed.port}: `)),
    lines.join("\n"),
  );
  for (const node of cluster.nodes) {
    assert.deepEqual(await synced(node, "SELECT v, COUNT(*) AS n FROM shop.t GROUP BY v"), [{ v: 1, n: rows }]);
  }

  async function killAndRestart() {
    await killed.kill();
    await killed.restart();
    isBack = true;
  }
});

test("watchLoad() holds queries back while one node has a long receive queue", { skip }, async () => {
  const [first, , behind] = cluster.nodes;
  await first.sql("CREATE TABLE shop.q (id INT PRIMARY KEY)");
  const servers = cluster.nodes.map((node) => ({
    db: { host: node.host, port: node.port, user: "root" },
    where: `${node.host}:${node.port}`,
  }));
  const limits = {
    "max-load": [
      { variable: "wsrep_local_recv_queue", most: 20 },
      { variable: "wsrep_flow_control_active", most: 0 },
      { variable: "wsrep_flow_control_paused", most: 0.9 },
    ],
    "critical-load": [],
  };
  const never = (reason: string) => assert.fail(reason);
  const gate = await gateOf(...servers.map(({ db, where }) => watchLoad(db, limits, never, where)));
  let isLocked = true;
  const locked = behind.sql("FLUSH TABLES WITH READ LOCK; DO SLEEP(3)").then(() => {
    isLocked = false;
  });
  const reasons = new Set<string>();
  async function* queries() {
    for (let id = 1; id <= 400 || isLocked; id++) {
      yield `INSERT INTO q VALUES (${id})`;
      await sleep(2);
    }
  }
  const { total, done } = await doWork(queries(), 3, {
    hosts: [first],
    gates: [gate],
    progress: { update: ({ held }) => void (held && reasons.add(held)), log() {}, report() {}, stop() {} },
  });
  await locked;
  gate.stop();
  assert.equal(done, total);
  const reason = new RegExp(`^paused: wsrep_local_recv_queue is \\d+ on 127\\.0\\.0\\.1:${behind.port}, above 20$`);
  assert.ok(
    [...reasons].some((each) => reason.test(each)),
    [...reasons].join("\n"),
  );
});

test("doWork() leaves a node that has lost its cluster", { skip, timeout: 180_000 }, async () => {
  const [second, alone] = cluster.nodes;
  await second.sql("CREATE TABLE shop.u (id INT PRIMARY KEY)");
  const outcomes = new Map<number, Ended["outcome"]>();
  const lines: string[] = [];
  let cutOff: Promise<void> | undefined;
  let isCutOff = false;
  async function* queries() {
    for (let id = 1; id <= 2000; id++) {
      while (id > 1500 && !isCutOff) await sleep(50);
      yield `INSERT INTO u VALUES (${id})`;
    }
  }
  const { done, unknown, failures } = await doWork(queries(), 9, {
    hosts: cluster.nodes,
    onEnded({ seq, outcome }) {
      outcomes.set(seq, outcome);
      if (outcomes.size >= 500) cutOff ??= isolate();
    },
    progress: { update() {}, log: (line) => void lines.push(line), report() {}, stop() {} },
  });
  await cutOff;
  assert.equal(done + unknown, 2000, JSON.stringify(failures.slice(0, 3)));
  assert.match(lines.join("\n"), new RegExp(`^127.0.0.1:${alone.port}: WSREP has not yet prepared node`, "m"));
  const ids = new Set((await synced(second, "SELECT id FROM shop.u")).map((row) => (row as { id: number }).id));
  for (const [id, outcome] of outcomes) {
    assert.ok(outcome === "unknown" || ids.has(id), `row ${id} is missing, and its query is ${outcome}`);
  }
  // The node joins the cluster again and gets the rows that it missed.
  await alone.sql("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'");
  while ((await isReady()) === false) await sleep(100);
  assert.deepEqual(await synced(alone, "SELECT COUNT(*) AS n FROM shop.u"), [{ n: ids.size }]);

  /** Isolates the node. It still accepts connections, and answers queries with error 1047. */
  async function isolate() {
    await alone.sql("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'");
    while (await isReady()) await sleep(100);
    isCutOff = true;
  }

  function isReady(): Promise<boolean> {
    return alone.sql("DO 0").then(
      () => true,
      () => false,
    );
  }
});

/** Waits until the node has applied the writes of the others, and reads. */
async function synced(node: Cluster["nodes"][0], text: string): Promise<unknown[]> {
  const results = (await node.sql<unknown[]>(`SET SESSION wsrep_sync_wait = 1; ${text}`)) as unknown[][];
  return results[1]!;
}
