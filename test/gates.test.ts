import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import { loadGate, nearGate, rateGate } from "../lib/command/gates.ts";
import { doWork } from "../lib/mp.ts";
import { useDatabase } from "./database.ts";
import { numbers } from "./target.ts";

const { sql, db } = await useDatabase();

test("rateGate() spreads the queries evenly over all workers", async () => {
  const rate = 200;
  const workers = 4;
  const starts: number[] = [];
  const summary = await doWork(Array(600).fill("DO 0"), workers, {
    gates: [rateGate({ perSecond: rate }, workers)],
    onEnded: ({ start }) => starts.push(start),
  });
  assert.equal(summary.done, 600);
  assert.ok(summary.seconds > (600 / rate) * 0.95, `${summary.seconds} s`);
  starts.sort((a, b) => a - b);
  for (const windowMs of [100, 1000]) {
    const most = (rate * windowMs) / 1000 + rate / 20 + workers + 1; // a burst of a twentieth of a second, and a rounding
    for (const [index, start] of starts.entries()) {
      const end = starts.findIndex((other) => other >= start + windowMs);
      const count = (end < 0 ? starts.length : end) - index;
      assert.ok(count <= most, `${count} queries began within ${windowMs} ms`);
    }
  }
});

test("loadGate() holds queries back while the server is above the limit, and nothing is lost", async () => {
  await sql(`CREATE TABLE t (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(2000)}`);
  const { gate, stop } = await loadGate(db, [{ variable: "threads_connected", most: 20 }]);
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
  const summary = await doWork(queries, 4, { gates: [gate, nearGate(4)], progress });
  stop();
  assert.match(held ?? "", /^paused: threads_connected is \d+, above 20$/);
  assert.equal(summary.done, 2000);
  assert.deepEqual(await sql("SELECT MIN(v) AS low, MAX(v) AS high FROM t"), [{ low: 1, high: 1 }]);
});

test("loadGate() says which of several servers it is, and does not wait for one that is not there", async () => {
  const load = { variable: "Threads_connected", most: 0 };
  const { gate, stop } = await loadGate(db, [load], "db2:3306");
  stop();
  assert.match(gate.reason ?? "", /^paused: Threads_connected is \d+ on db2:3306, above 0$/);
  assert.equal(gate.limit(7), 7);
  const gone = await loadGate({ ...db, socketPath: `${db.socketPath}.no` }, [load], "db3:3306");
  gone.stop();
  assert.equal(gone.gate.limit(7), Number.POSITIVE_INFINITY);
});

test("loadGate() rejects a variable that the server does not have", async () => {
  await assert.rejects(loadGate(db, [{ variable: "Nope", most: 1 }]), {
    message: "--max-load: the server has no number called Nope",
  });
});

test("doWork() with shards runs every query in exactly one of them, with the seq it has in the whole", async () => {
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

test("doWork() counts what an earlier run has ended, and does not run it", async () => {
  await sql("CREATE TABLE e (id INT PRIMARY KEY)");
  const queries = Array.from({ length: 10 }, (_, n) => `INSERT INTO e VALUES (${n + 1})`);
  const earlier = (seq: number) => (seq <= 3 ? ("done" as const) : seq === 4 ? ("unknown" as const) : undefined);
  const { total, done, unknown } = await doWork(queries, 2, { earlier });
  assert.deepEqual([total, done, unknown], [10, 9, 1]);
  assert.deepEqual(await sql("SELECT MIN(id) AS low, COUNT(*) AS n FROM e"), [{ low: 5, n: 6 }]);
});
