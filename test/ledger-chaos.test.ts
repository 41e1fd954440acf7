/** Runs with a ledger while scripts, connections and the server are killed. Every row must be updated exactly once. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { runHere } from "./command.ts";
import { useDatabase } from "./database.ts";
import { generator, seed } from "./random.ts";
import { start } from "./run.ts";
import { inSoak, scaled } from "./soak.ts";
import { numbers, target } from "./target.ts";

const rows = scaled(20_000, 1500);
const random = generator(seed);

// With 2, InnoDB writes its log at each commit, so a commit survives a kill of the server.
const database = await useDatabase(["--innodb-flush-log-at-trx-commit=2"]);
const { sql, db } = database;
await database.restart(); // a new server cannot recover after a kill before its first clean shutdown

const directory = mkdtempSync(join(tmpdir(), "myscript-chaos-"));
after(() => rmSync(directory, { recursive: true }));
const file = join(directory, "updates.sql");
// Because of the comment, every third query is not sent in one packet with its COMMIT.
const update = (id: number) => `UPDATE ${id % 3 ? "" : "/* alone */ "}t SET v = v + 1 WHERE id = ${id}`;
writeFileSync(file, Array.from({ length: rows }, (_, n) => `${update(n + 1)};\n`).join(""));
const args = ["-S", db.socketPath, "-u", db.user, "-D", db.database, "--ledger", "ledger", "--json"];

beforeEach(async () => {
  await sql("DROP TABLE IF EXISTS ledger");
  await sql(
    `DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(rows)}`,
  );
});

// Seen on 5.7.29: a session in the state "Killed" keeps its locks, and SHOW PROCESSLIST waits for it.
const skip =
  target.name === "mysql-5.7" && "MySQL 5.7 may hang for ever when connections are killed one after the other";

test("--ledger: each row is updated once by a script that is killed again and again", { skip: inSoak }, async () => {
  await runUntilDone([file], 3);
  await checkAll();
});

test(
  "--ledger: each row is updated once while the server is killed and connections are cut",
  {
    skip: inSoak || skip,
  },
  () => cutAndKill([]),
);

test("--ledger --batch: each row is updated once while the server is killed and connections are cut", { skip }, () =>
  cutAndKill(["--batch", "16"]),
);

for (const [one, other] of [
  ["16", "1"],
  ["16", "auto"],
  ["1", "1"],
].slice(0, scaled(3, 1)))
  test(`--ledger: each row is updated once by two copies at the same time, in batches of ${one} and ${other}, killed and run again`, async () => {
    const copies = [one!, other!].map((batch) => runUntilDone(["--batch", batch, file], scaled(2, 1)));
    await Promise.all(copies);
    await checkAll();
  });

test("--ledger: each row is updated once by three shards that are killed and run again", { skip: inSoak }, async () => {
  const shards = [1, 2, 3].map((index) => runUntilDone(["--shard", `${index}/3`, file], 2));
  await Promise.all(shards);
  await checkAll();
});

/** Runs the script, kills it once, and runs it to its end. Meanwhile connections are cut, and the server is killed twice. */
async function cutAndKill(words: readonly string[]): Promise<void> {
  const over = new AbortController();
  const cutting = cutConnections(over.signal);
  const restarting = (async () => {
    for (const part of [0.2, 0.6]) {
      await progressTo(rows * (part + random() * 0.2));
      database.kill();
      await database.restart();
    }
  })();
  try {
    await runUntilDone([...words, file], scaled(2, 1));
    await restarting;
  } finally {
    over.abort();
  }
  assert.ok((await cutting) > 0);
  await checkAll();
}

/** Runs the script and kills it after a random part of the remaining work, `kills` times. Then runs it to its end. */
async function runUntilDone(words: readonly string[], kills: number): Promise<void> {
  for (let killed = 0; killed < kills; killed++) {
    const { child, ended } = start([...args, ...words]);
    const { pid } = child;
    const before = await updated();
    const finished = ended.then(() => true);
    await Promise.race([
      finished,
      progressTo(before + (rows - before) * random() * 0.5, () => child.exitCode !== null),
    ]);
    if (child.exitCode === null) process.kill(-pid!, "SIGKILL");
    const { status, stderr } = await ended;
    assert.ok(status === 137 || status === 0, stderr);
  }
  const { status, stdout, stderr } = await runHere([...args, ...words]);
  assert.equal(status, 0, stderr);
  const { total, done } = JSON.parse(stdout);
  assert.equal(done, total);
}

async function checkAll(): Promise<void> {
  assert.deepEqual(await sql("SELECT v, COUNT(*) AS n FROM t GROUP BY v"), [{ v: 1, n: rows }]);
  assert.deepEqual(await sql("SELECT COUNT(*) AS n, MAX(seq) AS last FROM ledger"), [{ n: rows, last: rows }]);
}

/** Returns the number of updated rows, or 0 while the server is down. */
async function updated(): Promise<number> {
  return sql<{ n: number }>("SELECT COUNT(*) AS n FROM t WHERE v > 0").then(
    ([row]) => row!.n,
    () => 0,
  );
}

/** Waits until this many rows are updated, or until `isVain()`. */
async function progressTo(count: number, isVain = () => false): Promise<void> {
  while (!isVain() && (await updated()) < count) await sleep(10);
}

/** Kills random connections on the server until the signal. Returns the number of kills. */
async function cutConnections(signal: AbortSignal): Promise<number> {
  const others = "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND db = 'myscript'";
  let cuts = 0;
  while (!signal.aborted) {
    const list = await sql<{ id: number }>(others).catch(() => []);
    const victim = list[Math.floor(random() * list.length)];
    if (victim)
      await sql(`KILL CONNECTION ${victim.id}`).then(
        () => cuts++,
        () => {},
      );
    await sleep(random() * 50);
  }
  return cuts;
}
