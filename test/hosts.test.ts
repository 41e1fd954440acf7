/** Runs with several hosts. Each server has its own table, which shows the queries that it ran. */
import assert from "node:assert/strict";
import { appendFileSync, readFileSync } from "node:fs";
import net from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { probeServer } from "../lib/command/probe.ts";
import { ranges } from "../lib/features/ranges/ranges.ts";
import { doWork, type Ended, type Host, type RunError, type WorkOptions } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import type { Snapshot } from "../lib/parent/figures.ts";
import { runHere } from "./command.ts";
import { type Database, useDatabase } from "./database.ts";
import { resolve } from "./resolve.ts";
import { findFreePort, startServer } from "./server.ts";
import { lacks } from "./target.ts";
import { silent } from "./watch.ts";

interface Node extends Database, Host {}

const db = { user: "root", database: "myscript" };
const nodes = [await useNode(), await useNode(), await useNode()] as const;
const [a, b] = nodes;
await a.restart(); // a new server cannot recover after a kill before its first clean shutdown
/** More queries than workers. If they came one by one, one worker could run all of them. */
const burst = 24;
const nowhere = { host: "127.0.0.1", port: await findFreePort() };

test("doWork() spreads the workers over the hosts", async () => {
  const { summary } = await insertUntil(async () => (await connections()).every((count) => count >= 2), 6, {
    hosts: nodes,
  });
  assert.equal(summary.done, summary.total);
  assert.deepEqual(await connections(), [2, 2, 2]);
});

test("doWork() goes on without an unreachable host, and reports it once", async () => {
  const { summary, lines } = await insertUntil(
    async () => (await connections()).every((count, index) => index === 2 || count >= 3),
    6,
    { hosts: [nowhere, a, b] },
  );
  assert.equal(summary.done, summary.total);
  assert.deepEqual(await connections(), [3, 3, 0]);
  assert.deepEqual(lines, [
    `127.0.0.1:${nowhere.port}: connect ECONNREFUSED 127.0.0.1:${nowhere.port}: trying the other hosts`,
  ]);
});

test("ranges() uses another host of the run if its own is unreachable, and any host if none is named", async () => {
  await b.sql("CREATE TABLE walked (id INT PRIMARY KEY, v INT NOT NULL)");
  await b.sql("INSERT INTO walked VALUES (1, 0), (2, 0), (3, 0)");
  myglobals.config = { db };
  for (const named of [nowhere, {}]) {
    const queries = async function* () {
      for await (const { where, values } of ranges({ ...db, ...named }, "walked", { size: 2 })) {
        yield { sql: `UPDATE walked SET v = v + 1 WHERE ${where}`, values };
      }
    };
    const { done, rows } = await doWork(queries(), 1, { hosts: [nowhere, b] });
    assert.deepEqual([done, rows], [2, 3]);
  }
});

for (const idempotent of [false, true]) {
  const title = `doWork() goes on with the other hosts when one is killed, and returns to it${idempotent ? ": idempotent" : ""}`;
  test(title, async () => {
    let killed = false;
    let restarted = false;
    let atB = 0;
    const { summary, lines } = await insertUntil(
      async () => {
        if (!killed) {
          if ((await connections()).slice(0, 2).some((count) => count < 2)) return false;
          a.kill();
          killed = true;
          atB = await count(b);
        } else if (!restarted) {
          if ((await connections())[1]! < 4 || (await count(b)) <= atB) return false; // all four workers have moved to b
          await a.restart();
          restarted = true;
          atB = await count(a);
        }
        return restarted && (await count(a)) > atB;
      },
      4,
      { hosts: [a, b], idempotent },
    );
    assert.ok(summary.unknown <= (idempotent ? 0 : 2), `${summary.unknown} unknown`);
    assert.equal(summary.done + summary.unknown, summary.total);
    assert.match(lines.join("\n"), new RegExp(`^127.0.0.1:${a.port}: .*: trying the other hosts$`, "m"));
    assert.match(lines.join("\n"), new RegExp(`^127.0.0.1:${a.port} is back$`, "m"));
  });
}

test("doWork() ends when no host accepts a connection within the connect timeout", async () => {
  const other = { ...nowhere, port: await findFreePort() };
  const options = { hosts: [nowhere, other], connectTimeoutSeconds: 0.5 };
  const error = (await doWork(["DO 0"], 2, options).catch((error) => error)) as RunError;
  assert.match(error.message, /^127\.0\.0\.1:\d+: connect ECONNREFUSED/);
  assert.equal(error.summary.skipped, 1);
});

test("doWork() does not wait for hosts that refuse for good", async () => {
  myglobals.config = { db: { user: "root", database: "no_such_database" } };
  const error = (await doWork(["DO 0"], 2, { hosts: [a, b] }).catch((error) => error)) as RunError;
  assert.match(error.message, /^127\.0\.0\.1:\d+: Unknown database 'no_such_database'$/);
  assert.ok(error.summary.seconds < 30, "the connect timeout is 60 s");
});

test("doWork() interrupts each query on its own host", async () => {
  myglobals.config = { db };
  for (const node of nodes)
    await node.sql("DROP TABLE IF EXISTS locked; CREATE TABLE locked (v INT); LOCK TABLES locked WRITE");
  const kill = new AbortController();
  const update = ({ inFlight }: Snapshot) => {
    if (inFlight().length === 6) waiting().then((all) => all && kill.abort());
  };
  const summary = await doWork(Array(6).fill("INSERT INTO locked VALUES (1)"), 6, {
    threads: 1,
    hosts: nodes,
    killSignal: kill.signal,
    progress: { ...silent, update },
  });
  for (const node of nodes) await node.sql("UNLOCK TABLES");
  assert.deepEqual([summary.failed, summary.unknown], [6, 0]);
  assert.ok(summary.failures.every(({ code }) => code === "ER_QUERY_INTERRUPTED"));

  async function waiting(): Promise<boolean> {
    const lists = nodes.map(({ sql }) =>
      sql("SELECT id FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"),
    );
    return (await Promise.all(lists)).every(({ length }) => length === 2);
  }
});

test("doWork() moves workers that write from a read-only host to another one", async (t) => {
  const servers = await Promise.all([startServer(), startServer()]);
  t.after(() => Promise.all(servers.map(({ stop }) => stop())));
  for (const { root } of servers) {
    await root.query("CREATE USER app");
    await root.query("GRANT ALL ON myscript.* TO app");
    await root.query("CREATE TABLE myscript.t (v INT)");
  }
  const [replica, primary] = servers as [(typeof servers)[0], (typeof servers)[0]];
  await replica.root.query("SET GLOBAL read_only = 1");
  myglobals.config = { db: { user: "app", database: "myscript" } };
  const hosts = servers.map(({ port }) => ({ host: "127.0.0.1", port }));
  const written = await doWork(Array(400).fill("INSERT INTO t VALUES (1)"), 4, { hosts });
  assert.equal(written.done, 400);
  assert.equal(written.retries, 0);
  const [rows] = await primary.root.query("SELECT COUNT(*) AS n FROM myscript.t");
  assert.deepEqual(rows, [{ n: 400 }]);
  let target = replica; // one address that leads to the replica first and to the primary later, as after a failover
  const name = net.createServer((client) => {
    const upstream = net.connect(target.port, "127.0.0.1");
    target = primary;
    client.on("error", () => {}).on("close", () => upstream.destroy());
    upstream.on("error", () => {}).on("close", () => client.destroy());
    client.pipe(upstream).pipe(client);
  });
  t.after(() => name.close());
  await new Promise<void>((resolve) => name.listen(0, "127.0.0.1", resolve));
  Object.assign(myglobals.config.db, { host: "127.0.0.1", port: (name.address() as net.AddressInfo).port });
  const { done, retries } = await doWork(Array(10).fill("INSERT INTO t VALUES (1)"), 1, { retries: 1 });
  assert.deepEqual([done, retries], [10, 0]);
});

test("doWork() verifies the host name in each host's certificate", {
  skip: lacks("ALTER INSTANCE RELOAD TLS"),
}, async (t) => {
  const servers = await Promise.all([startServer({ tls: true }), startServer({ tls: true })]);
  t.after(() => Promise.all(servers.map(({ stop }) => stop())));
  for (const { root } of servers) {
    await root.query("CREATE USER app");
    await root.query("GRANT ALL ON myscript.* TO app");
    await root.query("CREATE TABLE myscript.t (v INT)");
  }
  const [own, other] = servers as [(typeof servers)[0], (typeof servers)[0]];
  await other.certify("db2.example.org");
  // Each server has a CA of its own. The run trusts both.
  appendFileSync(own.ca, readFileSync(other.ca));
  const host = servers.map(({ port }) => `localhost:${port}`).join();
  const server = resolve(
    { host, user: "app", database: "myscript", "ssl-mode": "VERIFY_IDENTITY", "ssl-ca": own.ca },
    {},
    "/",
  );
  myglobals.config = { db: (await probeServer(server!, 10)).db };
  const lines: string[] = [];
  const progress = { ...silent, log: (line: string) => void lines.push(line) };
  const summary = await doWork(Array(100).fill("INSERT INTO t VALUES (1)"), 4, { hosts: server!.hosts, progress });
  assert.equal(summary.done, 100);
  assert.match(lines.join("\n"), new RegExp(`^localhost:${other.port}: Hostname/IP does not match .*db2.example.org`));
  const [rows] = await own.root.query("SELECT COUNT(*) AS n FROM myscript.t");
  assert.deepEqual(rows, [{ n: 100 }]);
});

test("the command prints all hosts, and exits with 2 if none of them answers", async () => {
  const list = [nowhere, a, b].map(({ host, port }) => `${host}:${port}`).join();
  const ran = await runHere(["-h", list, "-u", "root", "-D", "myscript", "-j", "3", "--threads", "1", "-"], {
    input: "DO 0; DO 0; DO 0;",
  });
  assert.equal(ran.status, 0, ran.stderr);
  assert.match(ran.stderr, new RegExp(`^root@${list}/myscript, 3 workers on 1 thread, server \\d+`, "m"));
  assert.match(ran.stderr, /^127\.0\.0\.1:\d+: connect ECONNREFUSED .*: trying the other hosts$/m);
  const other = `127.0.0.1:${await findFreePort()}`;
  const refused = await runHere(
    ["-h", `127.0.0.1:${nowhere.port},${other}`, "-u", "root", "--connect-timeout", "0.3", "-"],
    {
      input: "DO 0",
    },
  );
  assert.equal(refused.status, 2);
  const cannot = `Cannot connect to root@127.0.0.1:${nowhere.port}: connection refused; root@${other}: connection refused`;
  assert.equal(refused.stderr, `${cannot}: trying again for up to 0.3 s\nmyscript: ${cannot}\n`);
});

test("the command refuses a list of hosts that it cannot read", async () => {
  for (const host of ["db1,,db2", "db1:70000,db2", "db1,", "db1:3306:3307"]) {
    assert.deepEqual(await runHere(["-h", host, "-"]), {
      status: 2,
      stdout: "",
      stderr: 'myscript: --host must be one or more hosts with ports 1 to 65535, like "db1,db2:3307,[::1]:3308"\n',
    });
  }
});

async function useNode(): Promise<Node> {
  const port = await findFreePort();
  const network = ["--skip-networking=0", "--bind-address=127.0.0.1", `--port=${port}`];
  const database = await useDatabase([...network, "--innodb-flush-log-at-trx-commit=2"]);
  return { ...database, host: "127.0.0.1", port };
}

/** Inserts one seq after the other until `isEnough()`, in bursts, so that each worker gets some. Asserts that each outcome agrees with the tables of all nodes. */
async function insertUntil(isEnough: () => Promise<boolean>, workers: number, options: WorkOptions) {
  for (const { sql } of nodes)
    await sql("DROP TABLE IF EXISTS ran; CREATE TABLE ran (seq INT PRIMARY KEY, connection INT)");
  const outcomes = new Map<number, Ended["outcome"]>();
  const lines: string[] = [];
  async function* queries() {
    for (let seq = 1; seq % burst !== 1 || !(await isEnough()); seq++) {
      if (seq > 60_000) throw new Error("It was never enough");
      yield { sql: "REPLACE INTO ran VALUES (?, CONNECTION_ID())", values: [seq] };
      if (seq % burst === 0) await sleep(1);
    }
  }
  myglobals.config = { db };
  const summary = await doWork(queries(), workers, {
    threads: 2,
    onEnded: ({ seq, outcome }) => outcomes.set(seq, outcome),
    progress: { ...silent, log: (line) => void lines.push(line) },
    ...options,
  });
  const times = new Map<number, number>();
  for (const { sql } of nodes) {
    for (const { seq } of await sql<{ seq: number }>("SELECT seq FROM ran")) times.set(seq, (times.get(seq) ?? 0) + 1);
  }
  assert.equal(outcomes.size, summary.total);
  for (const [seq, outcome] of outcomes) {
    const ran = times.get(seq) ?? 0;
    const most = options.idempotent ? 2 : 1;
    const right = outcome === "done" ? ran >= 1 && ran <= most : outcome === "unknown" && ran <= 1;
    assert.ok(right, `query ${seq} ran ${ran} times, and is ${outcome}`);
  }
  return { summary, lines };
}

/** Returns the number of connections that have run a query on each node. */
function connections(): Promise<number[]> {
  return Promise.all(nodes.map((node) => count(node, "DISTINCT connection")));
}

async function count({ sql }: Node, what = "*"): Promise<number> {
  return Number((await sql(`SELECT COUNT(${what}) AS n FROM ran`).catch(() => []))[0]?.n ?? 0);
}
