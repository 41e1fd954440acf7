/** What the script promises on MySQL, on Vitess: outcomes, batches, rows, interrupts, the ledger, and what is lost behind vtgate. */
import assert from "node:assert/strict";
import { after, before, beforeEach, type TestContext, test } from "node:test";
import { doWork } from "../../lib/mp.ts";
import { myglobals } from "../../lib/myglobals.ts";
import { poll } from "../run.ts";
import { disturbed, fillTable, recorded, type Sql, total, updates, ways } from "./counted-rows.ts";
import { startVitess, type Vitess } from "./vitess.ts";

let vitess: Vitess;
let sql: Sql;

export function testVitess(): void {
  before(async () => {
    vitess = await startVitess();
    ({ sql } = vitess);
  });
  after(async () => vitess?.stop());
  beforeEach(async () => {
    use("plain");
    await sql(`DROP TABLE IF EXISTS ledger; DROP TABLE IF EXISTS made; DELETE FROM t; DELETE FROM sharded.t`);
    await sql(`${fillTable}; ${fillTable.replace(" t ", " sharded.t ")}`);
  });
  for (const [title, scenario] of Object.entries(scenarios)) test(title, { timeout: 300_000 }, scenario);
}

/** Connects the workers to this keyspace. */
function use(keyspace: "plain" | "sharded"): void {
  myglobals.config = { db: vitess.db(keyspace) };
}

const sum = (keyspace: "plain" | "sharded" = "plain") => total(sql, `${keyspace}.t`);

const scenarios: Readonly<Record<string, (t: TestContext) => Promise<void>>> = {
  async "each query runs once, in each way of sending, on one shard and on several"() {
    for (const keyspace of ["plain", "sharded"] as const) {
      use(keyspace);
      for (const [way, queries, options] of ways) {
        await sql(`UPDATE ${keyspace}.t SET v = 0`);
        const { done, failures } = await doWork(queries, 4, { retries: 50, ...options });
        assert.deepEqual([done, failures, await sum(keyspace)], [200, [], 200], `${keyspace}, ${way}`);
      }
    }
  },

  async "a mistake in a batch is its own query's"() {
    const queries = updates.map((update, n) =>
      n === 50 ? "SELECT FROM WHERE" : n === 60 ? "SELECT no FROM t" : update,
    );
    for (const ledger of [undefined, "ledger"]) {
      await sql("UPDATE t SET v = 0");
      const { done, failures } = await doWork(queries, 2, { batch: 16, retries: 50, ...(ledger && { ledger }) });
      assert.deepEqual([done, await sum()], [198, 198], JSON.stringify(failures));
      assert.deepEqual(failures.map(({ seq, outcome }) => [seq, outcome]).toSorted(), [
        [51, "failed"],
        [61, "failed"],
      ]);
    }
  },

  async "rows come as they are, from all shards"() {
    use("sharded");
    const lines: string[] = [];
    const onRows = (chunk: Uint8Array) => void lines.push(...Buffer.from(chunk).toString().trimEnd().split("\n"));
    const query = "SELECT id, 1.50 AS d, NULL AS n, 'é' AS s FROM t ORDER BY id";
    const { rows } = await doWork([query], 1, { onRows });
    assert.equal(rows, 20);
    assert.match(lines[7]!, /^\{"seq":1,"row":\{"id":7,"d":"?1.50"?,"n":null,"s":"é"\}\}$/);
  },

  async "a time limit interrupts, and what vtgate's shard has been told to kill is unknown"() {
    const { failures } = await doWork(["SELECT SLEEP(3600)", "UPDATE t SET v = SLEEP(3600)"], 2, { timeoutSeconds: 1 });
    for (const { outcome, errno, message } of failures) assert.deepEqual([outcome, errno], ["unknown", 1317], message);
    assert.equal(failures.length, 2);
    assert.equal(await sum(), 0);
    const update = "UPDATE t SET v = v + 1 + SLEEP(3600) WHERE id = 1";
    const ledgered = await doWork([update], 1, { timeoutSeconds: 1, ledger: "ledger" });
    assert.deepEqual(
      ledgered.failures.map(({ outcome }) => outcome),
      ["failed"], // its transaction has ended without the row
    );
    assert.deepEqual([await sum(), await recorded(sql)], [0, 0]);
  },

  async "DDL is recorded"() {
    const queries = ["CREATE TABLE made (id INT PRIMARY KEY)", "ALTER TABLE made ADD COLUMN v INT"];
    for (const run of [1, 2]) {
      const { done, failures } = await doWork(queries, 1, { ledger: "ledger" });
      assert.deepEqual([done, run, failures], [2, run, []]);
    }
  },

  async "two runs at once share a ledger"(t) {
    for (const batch of [1, 16]) {
      await sql("UPDATE t SET v = 0; DROP TABLE IF EXISTS ledger");
      const options = { ledger: "ledger", batch, retries: 100 };
      const both = await Promise.all([doWork(updates, 3, options), doWork(updates, 3, options)]);
      t.diagnostic(`batch ${batch}: ${both.map(({ retries }) => retries)} retries`);
      for (const { done, failures } of both) assert.equal(done, 200, JSON.stringify(failures[0]));
      assert.deepEqual([await sum(), await recorded(sql)], [200, 200], `batch ${batch}`);
    }
  },

  async "a ledger and the query that it records are on one shard, or the query fails"() {
    use("sharded");
    await assert.rejects(doWork(updates, 1, { ledger: "ledger" }), /sharded has several shards/);
    const { done, failures } = await doWork(
      ["UPDATE t SET v = v + 1 WHERE id = 3", "UPDATE plain.t SET v = v + 1 WHERE id = 3"],
      1,
      { ledger: "plain.ledger" },
    );
    assert.deepEqual([done, failures.map(({ seq, outcome }) => [seq, outcome])], [1, [[1, "failed"]]]);
    assert.match(failures[0]!.message, /multi-db transaction attempted/);
    assert.deepEqual([await sum("sharded"), await sum(), await recorded(sql)], [0, 1, 1]);
  },

  async "sessions of a shard are killed: what is done has run once, and what is unknown once or never"(t) {
    for (const keyspace of ["plain", "sharded"] as const) {
      use(keyspace);
      const { done, unknown, skipped, failures } = await disturbed(
        sql,
        { retries: 50 },
        vitess.killSessions,
        `${keyspace}.t`,
      );
      t.diagnostic(`${keyspace}: ${done} done, ${unknown} unknown`);
      assert.deepEqual([failures.filter(({ outcome }) => outcome === "failed"), skipped], [[], 0]);
      const updated = await sum(keyspace);
      assert.ok(updated >= done && updated <= done + unknown, `${updated}`);
    }
  },

  async "sessions of a shard are killed: with a ledger all is done once"(t) {
    for (const batch of [1, 8]) {
      await sql("UPDATE t SET v = 0; DROP TABLE IF EXISTS ledger");
      const options = { ledger: "ledger", batch, retries: 100 };
      const { done, retries, failures } = await disturbed(sql, options, vitess.killSessions);
      t.diagnostic(`batch ${batch}: ${retries} retries`);
      assert.deepEqual(failures, []);
      assert.deepEqual([done, await sum(), await recorded(sql)], [2000, 2000, 2000], `batch ${batch}`);
    }
  },

  async "vtgate is killed between a statement and its COMMIT: the ledger knows"() {
    await sql("DROP TABLE IF EXISTS ledger");
    const slow = "UPDATE t SET v = v + 1 + SLEEP(IF(v = 0, 30, 0)) WHERE id = 1";
    const running = doWork([slow], 1, { ledger: "ledger", retries: 100, connectTimeoutSeconds: 240 });
    await poll(async () => (await sql("SHOW PROCESSLIST")).some(({ State }) => State === "User sleep"), 60);
    await vitess.restart();
    await sql("UPDATE t SET v = 1 WHERE id = 1");
    const { done, failures } = await running;
    assert.deepEqual([done, failures, await sum(), await recorded(sql)], [1, [], 2, 1]);
  },

  async "vtgate, or MySQL behind it, is killed and comes back: the run goes on"(t) {
    for (const which of ["restart", "restartMySQL"] as const) {
      await sql("UPDATE t SET v = 0; DROP TABLE IF EXISTS ledger");
      const options = { ledger: "ledger", retries: 100, connectTimeoutSeconds: 240 };
      const { done, retries, failures } = await disturbed(sql, options, vitess[which]);
      t.diagnostic(`${which}: ${retries} retries`);
      assert.deepEqual([done, failures], [2000, []]);
      assert.deepEqual([await sum(), await recorded(sql)], [2000, 2000]);
    }
  },
};
