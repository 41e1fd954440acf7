/** Runs that are killed with SIGKILL at random moments and resumed. The soak kills them many times. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, test } from "node:test";
import { runHere, startHere } from "./command.ts";
import { useDatabase } from "./database.ts";
import { generator, seed } from "./random.ts";
import { poll, start, viaNode } from "./run.ts";
import { scaled } from "./soak.ts";
import { numbers } from "./target.ts";

const rows = scaled(20_000, 2000);
const most = scaled(4, 1);
const random = generator(seed);
const { sql, db } = await useDatabase();

beforeEach(() => sql("DROP TABLE IF EXISTS t"));

test("--joblog and --resume: no query runs twice, and each query that may have run without an outcome is unknown", async () => {
  const directory = mkdtempSync(join(tmpdir(), "test-"));
  const file = join(directory, "updates.sql");
  const joblog = join(directory, "updates.joblog");
  await sql(`CREATE TABLE t (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(rows)}`);
  writeFileSync(file, Array.from({ length: rows }, (_, n) => `UPDATE t SET v = v + 1 WHERE id = ${n + 1};\n`).join(""));
  const args = ["-S", db.socketPath, "-u", db.user, "-D", db.database, "--joblog", joblog, file];
  const updated = async () => (await sql<{ n: number }>("SELECT COUNT(*) AS n FROM t WHERE v > 0"))[0]!.n;
  for (let kills = 0; kills < most; kills++) {
    const enough = (await updated()) + (rows / 40) * (1 + random() * 5);
    const { child, ended } = start(kills > 0 ? ["--resume", ...args] : args);
    await poll(async () => (await updated()) >= enough);
    child.kill("SIGKILL");
    assert.equal((await ended).status, 137);
  }
  assert.equal((await runHere(["--resume", ...args])).status, 3);
  const outcomes = new Map<number, string>();
  for (const line of readFileSync(joblog, "utf8").trimEnd().split("\n").slice(1)) {
    const [seq, , outcome] = line.split("\t");
    outcomes.set(Number(seq), outcome!); // the last line counts
  }
  let notDone = 0;
  for (const { id, v } of await sql<{ id: number; v: number }>("SELECT id, v FROM t")) {
    assert.ok(v === 0 || v === 1, `row ${id} is ${v}`);
    if (outcomes.get(id) === "done") assert.equal(v, 1, `query ${id} is done`);
    else {
      assert.equal(outcomes.get(id), "unknown", `query ${id}, whose row is ${v}`);
      notDone++;
    }
  }
  assert.ok(notDone < rows / 2, `${notDone} are unknown`);
  rmSync(directory, { recursive: true });
});

test("--resume after Ctrl-C runs the skipped queries, and none is unknown", async () => {
  const directory = mkdtempSync(join(tmpdir(), "test-"));
  const file = join(directory, "updates.sql");
  const joblog = join(directory, "updates.joblog");
  await sql(`CREATE TABLE t (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM ${numbers(1000)}`);
  writeFileSync(
    file,
    Array.from({ length: 1000 }, (_, n) => `UPDATE t SET v = v + SLEEP(0.002) + 1 WHERE id = ${n + 1};\n`).join(""),
  );
  const args = ["-S", db.socketPath, "-u", db.user, "-D", db.database, "--joblog", joblog, file];
  const first = startHere(args);
  await poll(async () => (await sql<{ n: number }>("SELECT COUNT(*) AS n FROM t WHERE v > 0"))[0]!.n >= 200);
  first.kill("SIGINT");
  assert.equal((await first.ended).status, 130);
  assert.equal((await runHere(["--resume", ...args])).status, 0);
  assert.deepEqual(await sql("SELECT MIN(v) AS low, MAX(v) AS high FROM t"), [{ low: 1, high: 1 }]);
  rmSync(directory, { recursive: true });
});

test("--resume runs USE and SET at the top again, and refuses to go on if the earlier run was in a transaction", async () => {
  await sql("CREATE TABLE t (v INT); CREATE DATABASE other; CREATE TABLE other.t (v INT)");
  const directory = mkdtempSync(join(tmpdir(), "test-"));
  const insert = "INSERT INTO t VALUES (1);\n";
  const runs = (name: string, text: string) => {
    const file = join(directory, name);
    writeFileSync(file, text);
    const server = ["-S", db.socketPath, "-u", db.user, "-D", db.database];
    return (...more: string[]) => runHere([...server, "-j1", "--joblog", `${file}.joblog`, ...more, file]);
  };
  const use = runs("use.sql", `USE other;\n${insert}no sql;\n${insert}`);
  assert.equal((await use("--max-failures", "1")).status, 1);
  assert.match((await use("--resume", "--json")).stdout, /"done":3,"failed":1,"unknown":0,"skipped":0,/);
  const begin = runs("begin.sql", `BEGIN;\n${insert}no sql;\n${insert}COMMIT;\n`);
  const first = await begin("--max-failures", "1");
  assert.match(first.stderr, /^0 of 5 queries done, 3 failed, 2 skipped/m);
  assert.doesNotMatch(first.stderr, /to go on/);
  assert.equal(first.status, 1);
  const { status, stderr } = await begin("--resume");
  assert.match(
    stderr,
    /Cannot go on at \S+:1: BEGIN applies to one connection only, and that of the earlier run is gone/,
  );
  assert.equal(status, 2);
  const both = "SELECT (SELECT COUNT(*) FROM t) AS here, (SELECT COUNT(*) FROM other.t) AS there";
  assert.deepEqual(await sql(both), [{ here: 0, there: 2 }]);
  rmSync(directory, { recursive: true });
});

test("--max-failures does not count failures of an earlier run", async () => {
  const directory = mkdtempSync(join(tmpdir(), "test-"));
  const file = join(directory, "some.sql");
  writeFileSync(file, `no sql;\nno sql;\n${"DO 0;\n".repeat(10)}no sql;\n`);
  const log = ["--joblog", join(directory, "some.joblog"), "--max-failures", "2"];
  const again = (...more: string[]) =>
    runHere(["-S", db.socketPath, "-u", db.user, "-D", db.database, "-j1", "--json", ...log, ...more, file]);
  const first = await again();
  assert.match(first.stdout, /"done":0,"failed":2,.*"reason":"too many failures: 2 failed, 0 unknown"/);
  const second = await again("--resume");
  assert.match(second.stdout, /"done":10,"failed":3,"unknown":0,"skipped":0,/);
  rmSync(directory, { recursive: true });
});

test("a killed run of slow queries leaves at most two a worker unknown", async () => {
  const directory = mkdtempSync(join(tmpdir(), "test-"));
  const joblog = join(directory, "slow.joblog");
  const file = join(directory, "slow.sql");
  const workers = 4;
  // Each query waits for the test's lock.
  writeFileSync(file, "DO GET_LOCK('slow', 3600) + RELEASE_LOCK('slow');\n".repeat(100));
  await sql("DO GET_LOCK('slow', 0)");
  const at = ["-S", db.socketPath, "-u", db.user, "-D", db.database];
  const killed = start([...at, "-j", `${workers}`, "--joblog", joblog, file]);
  const waiting = "SELECT 1 FROM information_schema.processlist WHERE state = 'User lock'";
  await poll(async () => (await sql(waiting)).length === workers);
  killed.child.kill("SIGKILL");
  await killed.ended;
  await sql("DO RELEASE_ALL_LOCKS()");
  const { status, stdout } = await runHere([...at, "--json", "--joblog", joblog, "--resume", file]);
  const { done, unknown } = JSON.parse(stdout);
  assert.equal(done + unknown, 100);
  assert.ok(unknown >= workers && unknown <= 2 * workers, `${unknown} are unknown`);
  assert.equal(status, 3);
  writeFileSync(file, "DO GET_LOCK('slow', 3600) + RELEASE_LOCK('slow');\n".repeat(99));
  const shorter = await runHere([...at, "--joblog", joblog, "--resume", file]);
  assert.match(
    shorter.stderr,
    /^myscript: The input has changed: it ends with query 99, and job log .* has query 100: give it the same input/m,
  );
  assert.equal(shorter.status, 2);
  const shard = await runHere([...at, "--shard", "1/2", "--joblog", joblog, "--resume", file]);
  assert.match(shard.stderr, /^myscript: Cannot resume .*: it was written without --shard\n$/m);
  assert.equal(shard.status, 2);
  rmSync(directory, { recursive: true });
});

/** Functions that return the checkpoints of `walk.ts`'s ranges, without the end. */
const keptRanges = {
  "a ledger": async () =>
    (await sql<{ note: string }>("SELECT note FROM l_ranges WHERE note <> 'null' ORDER BY number")).map(
      ({ note }) => note,
    ),
  "a job log": async (joblog: string) => readFileSync(joblog, "utf8").match(/^#note\t.*\]\]$/gm) ?? [],
};

for (const where of ["a ledger", "a job log"] as const)
  test(`a resumed run reads the ranges of a killed run from ${where}, even if the data have changed`, async () => {
    await sql("DROP TABLE IF EXISTS t; CREATE TABLE t (id VARCHAR(20) PRIMARY KEY, v INT NOT NULL DEFAULT 0)");
    const ids = Array.from({ length: 1500 }, (_, n) => `ä${10_000 + n}`);
    await sql(`INSERT INTO t (id) VALUES ${ids.map((id) => `('${id}')`)}`);
    const directory = mkdtempSync(join(tmpdir(), "test-"));
    const joblog = join(directory, "joblog");
    const server = ["-S", db.socketPath, "-u", db.user, "-D", db.database];
    const flags = where === "a ledger" ? ["--ledger", "l"] : ["--joblog", joblog, "--resume", "--retry-unknown"];
    const walk = () =>
      start([...server, "-j2", ...flags], { command: [...viaNode.slice(0, -1), "test/scripts/walk.ts"] });
    const kept = () => keptRanges[where](joblog);
    const kills = [200, 600].slice(0, scaled(2, 1));
    for (const count of kills) {
      const { child, ended } = walk();
      await poll(async () => (await sql<{ n: number }>("SELECT COUNT(*) AS n FROM t WHERE v > 0"))[0]!.n > count);
      child.kill("SIGKILL");
      await ended;
      await sql(`DELETE FROM t WHERE id LIKE '%${count / 100}'`);
      await sql(`INSERT INTO t (id) SELECT CONCAT(id, 'n', '${count}') FROM t WHERE id NOT LIKE '%n%'`); // a new row after each row
      await sql(`INSERT INTO t (id) VALUES ('beyond${count}'), ('äbeyond${count}')`);
    }
    const found = await kept();
    const { status, stderr } = await walk().ended;
    assert.equal(status, 0, stderr);
    const all = await kept();
    assert.deepEqual(all.slice(0, found.length), found);
    assert.match(stderr, RegExp(`^${(all.length - 1).toLocaleString("en")} of .* queries done, `, "m")); // the first checkpoint is the last key, not a range
    const [{ low, high, n }] = (await sql(
      "SELECT MIN(v) AS low, MAX(v) AS high, COUNT(*) AS n FROM t WHERE id NOT LIKE '%n%' AND id NOT LIKE '%beyond%'",
    )) as [{ low: number; high: number; n: number }];
    const most = where === "a ledger" ? 1 : 1 + kills.length;
    assert.deepEqual([low, high <= most, n], [1, true, 1500 - 150 * kills.length]);
    assert.deepEqual(await sql(`SELECT MAX(v) <= ${most} AS few, MAX(IF(id LIKE '%beyond%', v, 0)) AS beyond FROM t`), [
      { few: 1, beyond: 0 },
    ]);
    rmSync(directory, { recursive: true });
  });

test("shards with a ledger share the ranges that one shard finds, also after they are killed and resumed", async () => {
  await sql("DROP TABLE IF EXISTS t, l, l_ranges; CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL DEFAULT 0)");
  await sql(`INSERT INTO t (id) VALUES ${Array.from({ length: 600 }, (_, n) => `(${n})`)}`);
  const shards = (only = [1, 2, 3]) =>
    only.map((shard) =>
      start(["-S", db.socketPath, "-u", db.user, "-D", db.database, "-j2", "--ledger", "l", "--shard", `${shard}/3`], {
        command: [...viaNode.slice(0, -1), "test/scripts/walk.ts"],
      }),
    );
  const running = shards();
  await poll(async () => (await sql<{ n: number }>("SELECT COUNT(*) AS n FROM t WHERE v > 0"))[0]!.n > 100);
  running[1]!.child.kill("SIGKILL");
  for (const { ended } of [running[0]!, running[2]!]) {
    const { status, stderr } = await ended;
    assert.equal(status, 0, stderr);
  }
  await running[1]!.ended;
  await sql("INSERT INTO t (id) VALUES (1000)"); // after the last key that the other shards have found
  const [again] = shards([2]);
  const { status, stderr } = await again!.ended;
  assert.equal(status, 0, stderr);
  assert.deepEqual(await sql("SELECT v, COUNT(*) AS n FROM t GROUP BY v ORDER BY v"), [
    { v: 0, n: 1 },
    { v: 1, n: 600 },
  ]);
});
