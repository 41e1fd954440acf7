/** The gates of `--max-lag` with a real source and a real replica. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { NamedServer, Server } from "../lib/command/config.ts";
import { Link, type WatchGate } from "../lib/command/link.ts";
import { Heartbeat } from "../lib/features/lag/heartbeat.ts";
import { watchReplicas } from "../lib/features/lag/hook.ts";
import { type LagLimit, watchLag } from "../lib/features/lag/lag.ts";
import { doWork } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import type { Host } from "../lib/mysql/connection.ts";
import { runHere } from "./command.ts";
import { startPair } from "./replica.ts";
import { poll } from "./run.ts";
import { gateOf, silent } from "./watch.ts";

const pair = await startPair();
after(() => pair.stop());
const { source, replica, onReplica } = pair;
const sql = async (text: string) => (await source.root.query(text))[0];
await sql("USE myscript");
const socket = { socketPath: source.socketPath, user: "root", database: "myscript" };
const place = `127.0.0.1:${replica.port}`;

const own: NamedServer = {
  ...replicas("root", source.port),
  others: (addresses) => ({ ...replicas(), hosts: addresses.map(({ host, port = 3306 }) => ({ host, port })) }),
};

/** Creates a gate for one replica, which reads the lag from a heartbeat table if one is named. */
function watch(server: Server, limit: LagLimit, heartbeat?: string, database = "myscript") {
  const source = new Link([socket]);
  const beat = heartbeat === undefined ? undefined : new Heartbeat(heartbeat, database, source);
  const find = async () => server;
  return gateOf(watchLag(limit, { ...{ find, mayChange: false, beat, log() {} }, close: () => source.close() }));
}

function replicas(user = "root", port = replica.port): Server {
  return {
    db: { user, database: "myscript", getServerPublicKey: true },
    hosts: [{ host: "127.0.0.1", port }],
    tlsOptional: false,
  };
}

/** Inserts rows until `enough()`. `held()` resolves when the gate holds the run back with a matching reason. */
function insertRows(table: string, gate: WatchGate, workers: number) {
  let isEnough = false;
  let latest: { ended: number; held?: string | undefined } = { ended: 0 };
  let ticks = 0;
  const progress = {
    update(snapshot: typeof latest) {
      latest = { ended: snapshot.ended, held: snapshot.held };
      ticks++;
    },
    log() {},
    report() {},
    stop() {},
  };
  const queries = async function* () {
    for (let n = 1; !isEnough; n++) {
      yield `INSERT INTO ${table} VALUES (${n})`;
      await sleep(5);
    }
  };
  myglobals.config = { db: socket };
  return {
    summary: doWork(queries(), workers, { gates: [gate], progress }),
    enough() {
      isEnough = true;
    },
    async held(reason: RegExp) {
      await poll(() => reason.test(latest.held ?? ""));
      const { ended } = latest;
      const until = ticks + 20;
      await poll(() => ticks > until);
      assert.ok(latest.ended <= ended + workers, `${latest.ended - ended} queries have ended while it was paused`);
    },
    async goesOn() {
      const { ended } = latest;
      await poll(() => latest.held === undefined && latest.ended > ended + 20);
    },
  };
}

test("watchLag() pauses while the replica is behind, stopped or dead, and reports which", async () => {
  await sql("CREATE TABLE t (id INT PRIMARY KEY)");
  const gate = await watch(replicas(), { seconds: 1 });
  const rows = insertRows("t", gate, 4);
  await rows.goesOn();
  await onReplica("STOP REPLICA SQL_THREAD");
  await rows.held(new RegExp(`^paused: ${place} does not replicate: its SQL thread does not run$`));
  await onReplica("START REPLICA SQL_THREAD");
  await rows.goesOn();
  await onReplica("STOP REPLICA IO_THREAD");
  await rows.held(new RegExp(`^paused: ${place} does not replicate: its I/O thread does not run$`));
  await onReplica("START REPLICA IO_THREAD");
  await rows.goesOn();
  await onReplica("LOCK TABLES myscript.t READ");
  await rows.held(new RegExp(`^paused: ${place} is [2-9] s behind$`));
  await onReplica("UNLOCK TABLES");
  await rows.goesOn();
  pair.kill();
  await rows.held(new RegExp(`^paused: ${place} cannot be reached: connection refused$`));
  await pair.restart();
  await onReplica("START REPLICA").catch(() => {}); // it may have begun by itself
  await rows.goesOn();
  rows.enough();
  const { total, done } = await rows.summary;
  gate.stop();
  assert.equal(done, total);
  assert.deepEqual(await sql("SELECT COUNT(*) AS n, MAX(id) AS most FROM t"), [{ n: total, most: total }]);
  await poll(async () => (await onReplica("SELECT COUNT(*) AS n FROM myscript.t"))[0]!.n === total);
});

test("watchLag() with a heartbeat computes the lag from its rows", async (t) => {
  await sql("CREATE DATABASE IF NOT EXISTS `for``beats`");
  await sql(`CREATE TABLE \`for\`\`beats\`.heartbeat (
    ts VARCHAR(26) NOT NULL, server_id INT UNSIGNED NOT NULL PRIMARY KEY, file VARCHAR(255), position BIGINT UNSIGNED)`);
  // Rows of former sources. The clock of one was ahead.
  for (const [year, server] of [
    [2001, 7],
    [2099, 8],
  ])
    await sql(
      `INSERT INTO \`for\`\`beats\`.heartbeat (ts, server_id) VALUES ('${year}-01-01T00:00:00.000000', ${server})`,
    );
  const beat = async () => {
    // Local time in a time zone that differs from this machine's and the server's.
    const ts = new Date(Date.now() + 3_600_000 * 11).toISOString().replace("Z", "123");
    await sql(`REPLACE INTO \`for\`\`beats\`.heartbeat (ts, server_id) VALUES ('${ts}', 1)`);
  };
  await sql("CREATE TABLE h (id INT PRIMARY KEY)");
  await beat();
  await poll(async () => (await onReplica("SELECT COUNT(*) AS n FROM `for``beats`.heartbeat"))[0]!.n === 3);
  const server = replicas();
  const gate = await watch(server, { seconds: 1 }, "heartbeat", "for`beats");
  assert.equal(gate.reason, "paused: nobody has written into heartbeat yet");
  const beats = setInterval(beat, 200);
  t.after(() => {
    clearInterval(beats);
    gate.stop();
  });
  const rows = insertRows("h", gate, 2);
  await rows.goesOn();
  await onReplica("STOP REPLICA SQL_THREAD");
  await rows.held(new RegExp(`^paused: ${place} is \\d+ s behind$`));
  await onReplica("START REPLICA SQL_THREAD");
  await rows.goesOn();
  rows.enough();
  const { total, done } = await rows.summary;
  assert.equal(done, total);
});

test("watchLag() refuses a server that is no replica, and names the missing GRANT", async () => {
  await assert.rejects(watch(replicas("root", source.port), { seconds: 1 }), {
    name: "Error",
    message: `--replicas: 127.0.0.1:${source.port} is no replica: its status is empty`,
  });
  await assert.rejects(watch(replicas("nobody"), { seconds: 1 }), {
    message: new RegExp(`^--replicas: ${place}: Access denied for user 'nobody'@`),
  });
  await sql("CREATE USER watcher@'%' IDENTIFIED BY ''");
  await poll(async () => (await onReplica("SELECT 1 FROM mysql.user WHERE user = 'watcher'")).length > 0);
  for (const heartbeat of [undefined, "`for``beats`.heartbeat"]) {
    const refused = await refusal(() => watch(replicas("watcher"), { seconds: 1 }, heartbeat));
    const [, grant] = /^Cannot tell how far \S+ is behind: .*: (GRANT .* TO 'watcher'@'%')$/.exec(refused) ?? [];
    assert.ok(grant, refused);
    await sql(grant);
    await poll(async () => {
      const gate = await watch(replicas("watcher"), { seconds: 1 }, heartbeat).catch(() => undefined);
      gate?.stop();
      return gate !== undefined;
    });
  }
  for (const [table, reason] of [
    ["myscript.nope", /^--heartbeat myscript\.nope: Table .* doesn't exist$/],
    ["myscript.t", /^--heartbeat myscript\.t: Unknown column 'server_id'/],
    ["a.b.c", /^--heartbeat must be TABLE or DATABASE\.TABLE, not "a\.b\.c"$/],
  ] as const) {
    assert.match(await refusal(() => watch(replicas(), { seconds: 1 }, table)), reason);
  }
  const gate = await watch(replicas("root", 1), { seconds: 1 });
  gate.stop();
  assert.equal(gate.reason, "paused: 127.0.0.1:1 cannot be reached: connection refused");
  assert.equal(gate.limit(7), 7);
});

test("the command max-lag starts to watch the named replicas, or changes nothing", async () => {
  const servers = [{ db: { host: "127.0.0.1", port: source.port, user: "root" } }];
  const begin = (port: number) =>
    watchReplicas({ replicas: [{ host: "127.0.0.1", port }] }, { servers, server: own, progress: silent });
  const refused = await begin(source.port);
  const [refusing] = refused.dials!;
  await assert.rejects(async () => refusing!.set("5"), /is no replica/);
  assert.equal(refusing!.value, null);
  const hook = await begin(1);
  const [dial] = hook.dials!;
  const [gate] = hook.options!.gates!;
  await dial!.set("5");
  assert.equal(dial!.value, 5);
  assert.equal(gate!.reason, "paused: 127.0.0.1:1 cannot be reached: connection refused");
  assert.equal(gate!.limit(3, 1), 3);
  await dial!.set("off");
  assert.equal(gate!.reason, undefined);
  for (const { close } of [refused, hook]) close?.();
});

test("--max-lag watches the named replicas, and refuses a server that is no replica", async () => {
  const at = ["-h", "127.0.0.1", "-P", `${source.port}`, "-u", "root", "-D", "myscript", "--max-lag", "5"];
  const { status, stderr } = await runHere([...at, "--replicas", place, "-"], { input: "DO 1;DO 2" });
  assert.equal(status, 0, stderr);
  const table = await runHere([...at, "--replicas", place, "--heartbeat", "no_heartbeat", "-"], { input: "DO 1" });
  assert.match(table.stderr, /no_heartbeat/);
  assert.equal(table.status, 2);
  const wrong = await runHere([...at, "--replicas", `${place},127.0.0.1`, "-"], { input: "DO 1" });
  assert.match(wrong.stderr, /^myscript: --replicas: \S+ is no replica: its status is empty$/m);
  assert.equal(wrong.status, 2);
});

test("--max-lag below a second needs a heartbeat with fractions of a second", async (t) => {
  const at = ["-h", "127.0.0.1", "-P", `${source.port}`, "-u", "root", "-D", "myscript", "--replicas", place];
  const status = await runHere([...at, "--max-lag", "0.5", "-"], { input: "DO 1" });
  assert.match(
    status.stderr,
    /^myscript: --max-lag 0\.5 needs --heartbeat TABLE: a replica's own status has whole seconds$/m,
  );
  await sql("CREATE TABLE whole (ts DATETIME, server_id INT UNSIGNED NOT NULL PRIMARY KEY)");
  await sql("INSERT INTO whole VALUES (NOW(), 1)");
  await poll(async () => (await onReplica("SELECT * FROM myscript.whole").catch(() => [])).length > 0);
  const whole = await runHere([...at, "--max-lag", "0.5", "--heartbeat", "whole", "-"], { input: "DO 1" });
  assert.match(whole.stderr, /^myscript: --max-lag 0\.5: the heartbeat's ts has whole seconds$/m);
  assert.deepEqual([status.status, whole.status], [2, 2]);

  await sql("CREATE TABLE parts (ts DATETIME(6), server_id INT UNSIGNED NOT NULL PRIMARY KEY)");
  await sql("INSERT INTO parts VALUES (NOW(6), 1)");
  await poll(async () => (await onReplica("SELECT * FROM myscript.parts").catch(() => [])).length > 0);
  const hook = await watchReplicas(
    { replicas: [{ host: "127.0.0.1", port: replica.port }], maxLag: 0.5, heartbeat: "parts" },
    { server: own, servers: [{ db: socket }], progress: silent },
  );
  const beats = setInterval(() => sql("UPDATE parts SET ts = NOW(6)"), 50);
  t.after(() => {
    clearInterval(beats);
    hook.close?.();
  });
  const reason = () => hook.options!.gates![0]!.reason;
  await poll(() => reason() === undefined);
  await onReplica("STOP REPLICA SQL_THREAD");
  await poll(() => /^paused: \S+ is \d\.\d s behind$/.test(reason() ?? ""));
  await onReplica("START REPLICA SQL_THREAD");
  await poll(() => reason() === undefined);
});

test("--channel names the source that counts, of several", async () => {
  const at = ["-h", "127.0.0.1", "-P", `${source.port}`, "-u", "root", "--max-lag", "5", "--replicas", place];
  // A source sends its log to one connection of a replica only.
  const [stop, start, remove] = pair.isMariaDB
    ? ["STOP SLAVE", "START SLAVE 'Other'", "RESET SLAVE 'other' ALL"]
    : ["STOP REPLICA FOR CHANNEL ''", "START REPLICA FOR CHANNEL 'Other'", "RESET REPLICA ALL FOR CHANNEL 'other'"];
  await pair.addChannel("Other");
  await onReplica(stop);
  await onReplica(start);
  const of = (channel: string) => runHere([...at, "--channel", channel, "-"], { input: "DO 1" });
  assert.equal((await of("other")).status, 0);
  const nope = await of("nope");
  assert.match(nope.stderr, /^myscript: --replicas: \S+ is no replica in the channel nope: its status is empty$/m);
  assert.equal(nope.status, 2);
  await onReplica(start.replace("START", "STOP"));
  await onReplica(remove);
  await onReplica(stop.replace("STOP", "START"));
});

test("watchLag() with --replicas auto ignores a new host that is no replica, and refuses one at the start", async () => {
  // Other readers of the binary log register as a replica does.
  let hosts = [1, replica.port].map((port) => ({ host: "127.0.0.1", port }));
  const lines: string[] = [];
  const changing = () =>
    watchLag(
      { seconds: 5 },
      {
        find: async () => ({ ...replicas(), hosts }),
        mayChange: true,
        log: (line) => void lines.push(line),
        close() {},
      },
    );
  assert.equal(
    await refusal(changing),
    "--replicas auto: 127.0.0.1:1 cannot be reached: connection refused: name those that are to be watched",
  );
  const [nothing, good] = hosts as [Host, Host];
  hosts = [good];
  const gate = await changing();
  hosts = [nothing, { host: "127.0.0.1", port: source.port }, good];
  await poll(() => lines.length === 3);
  assert.deepEqual(lines, [
    `replicas: ${place}`,
    "replica 127.0.0.1:1 has appeared, and is not watched: cannot be reached: connection refused",
    `replica 127.0.0.1:${source.port} has appeared, and is not watched: --replicas: 127.0.0.1:${source.port} is no replica: its status is empty`,
  ]);
  assert.equal(gate.reason, undefined);
  gate.stop();
});

test("--replicas auto finds the replicas, and notices when one goes or appears", async (t) => {
  const at = ["-h", "127.0.0.1", "-P", `${source.port}`, "-u", "root", "--max-lag", "5", "--replicas", "auto"];
  const isFed = async () => ((await sql(readers)) as unknown[]).length === 1;
  const readers = "SELECT 1 FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'";
  await poll(isFed);
  const run = await runHere([...at, "-"], { input: "DO 1" });
  assert.match(run.stderr, new RegExp(`^replicas: ${place}$`, "m"));
  assert.equal(run.status, 0, run.stderr);
  const [, ...noReplica] = at.with(3, `${replica.port}`);
  const none = await runHere(["-h", ...noReplica, "-"], { input: "DO 1" });
  assert.match(
    none.stderr,
    /^myscript: --replicas auto: the server knows of none: name them, or set report_host on them$/m,
  );
  assert.equal(none.status, 2);

  const lines: string[] = [];
  const hook = await watchReplicas(
    { replicas: "auto", maxLag: 5 },
    { server: own, servers: [{ db: socket }], progress: { ...silent, log: (line) => void lines.push(line) } },
  );
  t.after(() => hook.close?.());
  const reason = () => hook.options!.gates![0]!.reason;
  assert.equal(reason(), undefined);
  pair.kill();
  await poll(() => reason() === `paused: ${place} cannot be reached: connection refused`);
  await sql("CREATE TABLE noticed (id INT PRIMARY KEY AUTO_INCREMENT)");
  // The source notices the lost replica only when it sends an event.
  await poll(async () => {
    await sql("INSERT INTO noticed VALUES ()");
    return lines.at(-1) === `replica ${place} has gone: cannot be reached: connection refused`;
  });
  assert.equal(reason(), undefined);
  await pair.restart();
  await onReplica("START REPLICA").catch(() => {}); // it may have begun by itself
  await poll(() => lines.at(-1) === `replica ${place} has appeared, and is watched, too`);
  assert.equal(lines.length, 3, lines.join("\n"));
  await onReplica("STOP REPLICA IO_THREAD");
  await poll(() => reason() === `paused: ${place} does not replicate: its I/O thread does not run`);
});

async function refusal(action: () => Promise<unknown>): Promise<string> {
  try {
    await action();
  } catch (error) {
    return (error as Error).message;
  }
  return "it was not refused";
}
