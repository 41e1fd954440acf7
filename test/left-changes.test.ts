/** Queries and warnings behind a proxy that answers for the server, such as ProxySQL. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { doWork } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { runHere } from "./command.ts";
import { status, useDatabase } from "./database.ts";
import { startProxySql } from "./proxy.ts";
import { poll } from "./run.ts";

const database = await useDatabase();
const { sql, db } = database;
await database.restart(); // a new server cannot recover after a kill before its first clean shutdown
beforeEach(() => sql("DROP TABLE IF EXISTS copies, kept; CREATE TABLE copies (v VARCHAR(3)) ENGINE = InnoDB"));

async function proxied(t: Parameters<typeof startProxySql>[0]) {
  const proxy = await startProxySql(t, db.socketPath);
  myglobals.config = { db: { ...db, socketPath: proxy.path } };
  t.after(() => {
    myglobals.config = { db };
  });
  return proxy;
}

test("a query that may have changed a table without transactions is not retried", async (t) => {
  await proxied(t);
  await sql("CREATE TABLE source (id INT PRIMARY KEY); INSERT INTO source VALUES (1), (2)");
  const copy = "INSERT INTO copies SELECT id FROM source ORDER BY id FOR UPDATE";
  const initCommands = ["SET innodb_lock_wait_timeout = 1"];
  const lockTimeout = async () => {
    await sql("BEGIN; SELECT * FROM source WHERE id = 2 FOR UPDATE");
    const { retries, failures } = await doWork([copy], 1, { retries: 1, initCommands });
    await sql("ROLLBACK");
    const [{ code, message = "" } = {}] = failures;
    assert.equal(code, "ER_LOCK_WAIT_TIMEOUT");
    return { retries, isUntold: / that stays: the server does not tell$/.test(message) };
  };
  assert.deepEqual(await lockTimeout(), { retries: 1, isUntold: false }, "there is no such table");
  await sql("ALTER TABLE copies ENGINE = MyISAM");
  assert.deepEqual(await lockTimeout(), { retries: 0, isUntold: true });
  assert.deepEqual(await sql("SELECT v FROM copies"), [{ v: "1" }]);
});

test("a query is retried while the proxy reaches no server, and runs once", async (t) => {
  const { refuse } = await proxied(t);
  await sql("ALTER TABLE copies ENGINE = MyISAM");
  refuse(/INSERT/, 2);
  const { done, retries } = await doWork(["DO 1", "INSERT INTO copies VALUES (1)"], 1);
  assert.deepEqual([done, retries], [2, 2]);
  assert.equal((await sql("SELECT * FROM copies")).length, 1);
});

for (const ledger of [undefined, "kept"]) {
  test(`a query whose server is killed behind the proxy is ${ledger ? "found in the ledger" : "unknown"}`, async (t) => {
    await proxied(t);
    await sql("BEGIN; SELECT * FROM copies FOR UPDATE");
    const running = doWork(["INSERT INTO copies VALUES (1)"], 1, ledger ? { ledger } : {});
    // Not by innodb_trx: the server does not refresh that while it is read more than ten times a second.
    await poll(async () => (await status(database, "Innodb_row_lock_current_waits")) > 0);
    database.kill();
    await database.restart();
    const { done, unknown, failures } = await running;
    assert.deepEqual([done, unknown], ledger ? [1, 0] : [0, 1]);
    if (!ledger) assert.match(failures[0]!.message, /Lost connection to server during query/);
    assert.equal((await sql("SELECT * FROM copies")).length, done);
  });
}

test("warnings are counted, and a message says that their texts are missing", async (t) => {
  const { path } = await proxied(t);
  const input = "INSERT IGNORE INTO copies VALUES ('too long'); DO 1;";
  const { status, stdout, stderr } = await runHere(["-S", path, "-u", "root", "-D", "myscript", "--json", "-"], {
    input,
  });
  assert.equal(status, 0, stderr);
  assert.deepEqual(JSON.parse(stdout).firstWarned[0].messages, []);
  assert.match(stderr, /^query 1, stdin:1: 1 warning: the server does not tell its text$/m);
});
