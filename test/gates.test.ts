import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { releaseAhead } from "../lib/features/joblog/hook.ts";
import { rateGate, watchLoad } from "../lib/features/throttle/gates.ts";
import { throttle } from "../lib/features/throttle/hook.ts";
import { doWork } from "../lib/mp.ts";
import { runHere } from "./command.ts";
import { useDatabase } from "./database.ts";
import { generator, seed } from "./random.ts";
import { poll } from "./run.ts";
import { numbers } from "./target.ts";
import { gateOf } from "./watch.ts";

const { sql, db } = await useDatabase();
const directory = mkdtempSync(join(tmpdir(), "myscript-gates-"));
after(() => rmSync(directory, { recursive: true }));
const server = ["-S", db.socketPath, "-u", "root", "-D", "myscript"];
const above = (variable: string, most: number) => ({ "max-load": [{ variable, most }], "critical-load": [] });
const never = (reason: string) => assert.fail(reason);
const random = generator(seed);

test("rateGate() admits evenly, and does not save up unused queries", (t) => {
  let clock = 0;
  t.mock.method(performance, "now", () => clock);
  const rate = 200;
  const workers = 4;
  const gate = rateGate({ perSecond: rate });
  const looks: { at: number; ended: number; limit: number }[] = [];
  let ended = 0;
  for (let n = 0; n < 2000; n++) {
    const limit = gate.limit(ended, workers);
    looks.push({ at: clock, ended, limit });
    if (random() < 0.9) ended = Math.max(ended, Math.floor(limit)); // otherwise the workers are slower than the limit
    clock += random() < 0.01 ? 700 : random() * 20; // sometimes the parent is late
  }
  const burst = workers + rate / 20;
  for (const [index, { at, ended }] of looks.entries()) {
    const end = looks.findIndex((look) => look.at > at + 1000);
    for (const later of looks.slice(index, end < 0 ? undefined : end)) {
      const most = (rate * (later.at - at)) / 1000 + burst;
      assert.ok(later.limit - ended <= most, `${later.limit - ended} began within ${later.at - at} ms, of ${most}`);
    }
  }
  const before = { at: clock, ended };
  for (; clock < before.at + 10_000; clock += 20) ended = Math.floor(gate.limit(ended, workers));
  assert.ok(ended - before.ended >= rate * 9.9, `${ended - before.ended}`);
});

test("rateGate() admits enough for the present number of workers", (t) => {
  let clock = 0;
  t.mock.method(performance, "now", () => clock);
  const gate = rateGate({ perSecond: 40 });
  gate.limit(0, 2);
  const limits = [2, 20, 2].map((workers) => {
    clock += 10_000;
    return gate.limit(0, workers);
  });
  assert.deepEqual(limits, [4, 22, 4]);
});

test("rateGate() limits all workers together", async () => {
  const gates = [rateGate({ perSecond: 200 })];
  const { done, seconds } = await doWork(Array(200).fill("DO 0"), 4, { gates });
  assert.equal(done, 200);
  assert.ok(seconds > 0.95, `${seconds} s`);
});

test("watchLoad() holds queries back while the server is above the limit, and runs them later", async () => {
  await sql(`CREATE TABLE t (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(2000)}`);
  const gate = await gateOf(watchLoad(db, above("threads_connected", 20), never));
  let crowd: net.Socket[] = [];
  let held: string | undefined;
  const progress = {
    update(snapshot: { ended: number; held?: string | undefined }) {
      if (snapshot.ended >= 500 && held === undefined && crowd.length === 0) {
        crowd = Array.from({ length: 40 }, () => net.connect(db.socketPath).on("error", () => {}));
      }
      if (snapshot.held !== undefined) {
        held = snapshot.held;
        for (const socket of crowd) socket.destroy();
      }
    },
    log() {},
    report() {},
    stop() {},
  };
  const queries = Array.from({ length: 2000 }, (_, n) => `UPDATE t SET v = v + SLEEP(0.002) + 1 WHERE id = ${n + 1}`);
  const summary = await doWork(queries, 4, { gates: [gate, releaseAhead()], progress });
  gate.stop();
  assert.match(held ?? "", /^paused: threads_connected is \d+, above 20$/);
  assert.equal(summary.done, 2000);
  assert.deepEqual(await sql("SELECT MIN(v) AS low, MAX(v) AS high FROM t"), [{ low: 1, high: 1 }]);
});

test("watchLoad() names the server that is above the limit, and does not wait for an unreachable one", async () => {
  const load = above("Threads_connected", 0);
  const gate = await gateOf(watchLoad(db, load, never, "db2:3306"));
  gate.stop();
  assert.match(gate.reason ?? "", /^paused: Threads_connected is \d+ on db2:3306, above 0$/);
  assert.equal(gate.limit(7), 7);
  const gone = await gateOf(watchLoad({ ...db, socketPath: `${db.socketPath}.no` }, load, never, "db3:3306"));
  gone.stop();
  assert.equal(gone.limit(7), Number.POSITIVE_INFINITY);
});

test("watchLoad() reads ON and OFF as 1 and 0", async (t) => {
  const rows = await sql<{ Variable_name: string; Value: string }>("SHOW GLOBAL STATUS");
  const variable = rows.find(({ Value }) => Value === "OFF")?.Variable_name;
  if (variable === undefined) return t.skip("all variables of this server are numbers or texts");
  const off = [{ variable, most: 0 }];
  const gate = await gateOf(watchLoad(db, { "max-load": off, "critical-load": off }, never));
  gate.stop();
  assert.equal(gate.reason, undefined);
});

test("watchLoad() leaves no connection if it is stopped while it connects again", async (t) => {
  const clients: net.Socket[] = [];
  const serve = (client: net.Socket) => client.pipe(net.connect(db.socketPath)).pipe(client);
  const proxy = net.createServer((client) => {
    clients.push(client.on("error", () => {}));
    if (clients.length === 1) serve(client);
  });
  await once(proxy.listen(0, "127.0.0.1"), "listening");
  t.after(() => proxy.close());
  const { port } = proxy.address() as net.AddressInfo;
  const tcp = { host: "127.0.0.1", port, user: "root" };
  const gate = await gateOf(watchLoad(tcp, above("Threads_connected", 1000), never));
  clients[0]!.destroy();
  await poll(() => clients.length === 2);
  gate.stop();
  serve(clients[1]!);
  await poll(() => clients[1]!.destroyed);
});

/** Returns a function that tells whether all connections made from now on are closed. */
async function newConnections(): Promise<() => Promise<boolean>> {
  const [{ last }] = (await sql("SELECT MAX(id) AS last FROM information_schema.processlist")) as [{ last: number }];
  const later = `SELECT id FROM information_schema.processlist WHERE id > ${last} AND id <> CONNECTION_ID()`;
  return async () => (await sql(later)).length === 0;
}

test("a limit of the load that is set while the run ends leaves no connection", async () => {
  const areClosed = await newConnections();
  const { dials, close } = await throttle({}, { servers: [{ db }], drain: new AbortController() });
  const begun = dials!.find(({ name }) => name === "max-load")!.set("Threads_connected=1000");
  close!();
  await begun;
  await poll(areClosed);
});

test("watchLoad() rejects a variable that the server does not have", async () => {
  const areClosed = await newConnections();
  await assert.rejects(watchLoad(db, above("Nope", 1), never), {
    message: "--max-load: the server has no numeric status variable Nope",
  });
  await poll(areClosed);
  const { status, stderr } = await runHere([...server, "--critical-load", "Nope=1", "-"], { input: "DO 1" });
  assert.match(stderr, /^myscript: --critical-load: the server has no numeric status variable Nope$/m);
  assert.equal(status, 2);
});

test("--critical-load ends the run half-way or at its start, and it can be resumed", async () => {
  await sql("CREATE TABLE c (id INT PRIMARY KEY)");
  const inserts = [1, 2, 3, 4].map((n) => `INSERT INTO c VALUES (${n})`);
  const drain = new AbortController();
  const criticalLoad = [{ variable: "Threads_connected", most: 20.5 }];
  const hook = await throttle({ criticalLoad }, { servers: [{ db, where: "db1" }], drain });
  let doneSoFar = 0;
  async function* queries() {
    yield* inserts.slice(0, 2);
    await poll(() => doneSoFar === 2);
    const crowd = Array.from({ length: 40 }, () => net.connect(db.socketPath).on("error", () => {}));
    await poll(() => drain.signal.aborted);
    for (const socket of crowd) socket.destroy();
    yield* inserts.slice(2);
  }
  const { done, reason } = await doWork(queries(), 1, {
    ...{ gates: hook.options!.gates!, signal: drain.signal },
    onEnded: ({ outcome }) => void (outcome === "done" && doneSoFar++),
  });
  hook.close?.();
  assert.match(reason ?? "", /^Threads_connected is \d+ on db1, above 20\.5: --critical-load/);
  assert.equal(done, 2);
  await sql("DELETE FROM c");

  const args = [...server, "--joblog", join(directory, "critical")];
  const ended = await runHere([...args, "--critical-load", "Threads_connected=0"], { queries: inserts });
  assert.match(ended.stderr, /^0 of 4 queries done, 4 skipped/m);
  assert.match(ended.stderr, /^ended early: Threads_connected is \d+, above 0: --critical-load/m);
  assert.equal(ended.status, 1);
  const resumed = await runHere([...args, "--resume"], { queries: inserts });
  assert.equal(resumed.status, 0, resumed.stderr);
  assert.deepEqual(await sql("SELECT COUNT(*) AS n FROM c"), [{ n: 4 }]);
});

test("doWork() with shards runs every query in exactly one shard, with its seq in the whole input", async () => {
  await sql("CREATE TABLE s (id INT PRIMARY KEY, shard INT)");
  for (const index of [1, 2, 3]) {
    const queries = Array.from({ length: 100 }, (_, n) => `INSERT INTO s VALUES (${n + 1}, ${index})`);
    const seqs: number[] = [];
    const summary = await doWork(queries, 2, { shard: { index, count: 3 }, onEnded: ({ seq }) => seqs.push(seq) });
    assert.equal(summary.total, index === 1 ? 34 : 33);
    assert.ok(seqs.every((seq) => (seq - index) % 3 === 0));
  }
  assert.deepEqual(await sql("SELECT COUNT(*) AS n, SUM((id - shard) % 3) AS wrong FROM s"), [{ n: 100, wrong: "0" }]);
});

test("doWork() counts queries that an earlier run has ended, and does not run them", async () => {
  await sql("CREATE TABLE e (id INT PRIMARY KEY)");
  const queries = Array.from({ length: 10 }, (_, n) => `INSERT INTO e VALUES (${n + 1})`);
  const earlier = (seq: number) => (seq <= 3 ? ("done" as const) : seq === 4 ? ("unknown" as const) : undefined);
  const { total, done, unknown } = await doWork(queries, 2, { earlier });
  assert.deepEqual([total, done, unknown], [10, 9, 1]);
  assert.deepEqual(await sql("SELECT MIN(id) AS low, COUNT(*) AS n FROM e"), [{ low: 5, n: 6 }]);
});
