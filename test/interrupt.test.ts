/** KILL QUERY: its effect on a query, which differs between servers, and the message if it cannot be sent. */
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { doWork } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { connect } from "../lib/mysql/connection.ts";
import { type DatabaseError, verdictOf } from "../lib/mysql/errors.ts";
import { execute } from "../lib/mysql/execute.ts";
import { interrupt } from "../lib/mysql/interrupt.ts";
import { runHere, startHere } from "./command.ts";
import { startBalancer, startProxy } from "./proxy.ts";
import { poll, start } from "./run.ts";
import { startServer, type TestServer } from "./server.ts";
import { lacks } from "./target.ts";

let server: TestServer;

before(async () => {
  server = await startServer();
  await server.root.query("USE myscript; CREATE TABLE slept (id INT PRIMARY KEY, v INT) ENGINE = InnoDB");
  // Later, a sleeping query whose client is gone may hold a lock on the table of accounts for many seconds.
  await server.root.query("CREATE USER one@localhost WITH MAX_USER_CONNECTIONS 1; CREATE USER two@localhost");
});

beforeEach(() => {
  myglobals.config = { db: { socketPath: server.socketPath, user: "root", database: "myscript" } };
});

after(() => server?.stop());

for (const ledger of [undefined, "slept_ledger"]) {
  test(`a query that the time limit interrupts is failed, or done if its effect stays: ${ledger ?? "no ledger"}`, async () => {
    const queries = [
      "SELECT SLEEP(3600)",
      "DO SLEEP(3600)",
      "INSERT INTO slept VALUES (1, SLEEP(3600))", // one row, which MySQL inserts although it was interrupted
      { sql: "INSERT INTO slept VALUES (?, SLEEP(3600))", values: [2] },
      "INSERT INTO slept VALUES (3, 0)",
    ];
    await server.root.query("TRUNCATE slept");
    const lines: string[] = [];
    const summary = await doWork(queries, 1, {
      timeoutSeconds: 0.3,
      progress: { update() {}, report() {}, stop() {}, log: (line) => lines.push(line) },
      ...(ledger && { ledger }),
    });
    const failed = summary.failures.map(({ seq, outcome, errno }) =>
      outcome === "failed" && errno === 1317 ? seq : 0,
    );
    const done = queries.map((_, index) => index + 1).filter((seq) => !failed.includes(seq));
    assert.deepEqual(
      await idsIn("slept"),
      done.filter((seq) => seq > 2).map((seq) => seq - 2),
      "what is done is in the table, and nothing else is",
    );
    const told = lines.map((line) => Number(/^query (\d) was interrupted too late: it is done$/.exec(line)?.[1]));
    assert.deepEqual([...told.filter(Boolean), 5], done);
    // A query that only reads commits nothing, except its row in the ledger.
    if (ledger) assert.deepEqual(await idsIn(ledger, "seq"), done);
    else assert.deepEqual(failed.slice(0, 2), [1, 2]);
    if (ledger) assert.ok(failed.includes(4), "where it is not committed with the rest, it is rolled back");
  });
}

test("a query that only reads is failed after a second Ctrl-C, whatever the server answers", async () => {
  const sleeping = "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE state = 'User sleep'";
  // One after the other, because MariaDB's KILL QUERY may take 2 s while several queries sleep.
  for (const query of ["SELECT SLEEP(3600)", "DO SLEEP(3600)"]) {
    const running = startHere(["-S", server.socketPath, "-u", "root", "-j1", "--json", "-"], { input: query });
    await poll(async () => (await rowsOf(sleeping))[0]?.n === 1);
    running.kill("SIGINT");
    const again = setInterval(() => running.kill("SIGINT"), 250); // repeated, because a SIGINT right after the first one counts as the same
    const { status, stdout } = await running.ended;
    clearInterval(again);
    const { failed, total } = JSON.parse(stdout);
    assert.deepEqual([status, failed, total], [130, 1, 1], stdout);
  }
});

test("a connection that kills itself is lost, and the next query is not affected", async () => {
  await server.root.query("TRUNCATE slept");
  const queries = [1, 2, 3].flatMap((id) => ["KILL CONNECTION_ID()", `INSERT INTO slept VALUES (${id}, 0)`]);
  const summary = await doWork(queries, 1);
  assert.deepEqual(
    summary.failures.map(({ seq, outcome }) => `${seq} ${outcome}`),
    ["1 unknown", "3 unknown", "5 unknown"],
  );
  assert.deepEqual(await idsIn("slept"), [1, 2, 3]);
});

test("KILL QUERY that gets no connection is reported with the reason, and is sent when it gets one", async () => {
  const sleeping = (seconds: number) =>
    runHere(["-S", server.socketPath, "-u", "one", "-j1", "--timeout", `${seconds}`, "-"], {
      input: "SELECT SLEEP(3600);",
    });
  const { status, stderr } = await sleeping(0.2);
  assert.equal(status, 3);
  assert.match(stderr, /^query 1, stdin:1 unknown: .*KILL QUERY was not possible within 5 s: .*one.*$/m);
  const ofOne = () => rowsOf("SELECT id FROM information_schema.processlist WHERE user = 'one'");
  for (const { id } of await ofOne()) await server.root.query(`KILL ${id}`).catch(() => {}); // the server finds out late that the client is gone
  await poll(async () => (await ofOne()).length === 0);
  const running = sleeping(1);
  await poll(async () => (await ofOne()).length === 1);
  await server.root.query("ALTER USER one@localhost WITH MAX_USER_CONNECTIONS 2");
  assert.match(
    (await running).stderr,
    /^query 1, stdin:1 failed: ER_QUERY_INTERRUPTED 1317: .*\(time limit of 1 s\)$/m,
  );
});

test("KILL QUERY reaches the query's own server behind a load balancer, or the connection is closed", async (t) => {
  const another = await startServer();
  t.after(() => another.stop());
  let turns: TestServer[] = [];
  const path = await startBalancer(t, () => (turns.length > 1 ? turns.shift()! : turns[0]!).socketPath);
  const kills = async ({ root }: TestServer) =>
    Number(((await root.query("SHOW GLOBAL STATUS LIKE 'Com_kill'"))[0] as { Value: string }[])[0]!.Value);
  const before = await kills(another);
  const errorOf = async (way: TestServer[]) => {
    turns = way;
    const connection = await connect({ socketPath: path, user: "root" });
    const ended = execute(connection, "SELECT 1 FROM mysql.user WHERE SLEEP(3600)").catch((error) => error);
    await interrupt([connection], 1000, () => {});
    connection.destroy();
    return (await ended) as DatabaseError;
  };
  assert.equal((await errorOf([server, another, another, server])).errno, 1317);
  const elsewhere = await errorOf([server, another]);
  assert.equal(elsewhere.message, "KILL QUERY was not possible within 1 s: a balancer leads to another server");
  assert.equal(verdictOf(elsewhere), "unknown");
  assert.equal(await kills(another), before);
});

test("a query is abandoned when the answer to KILL QUERY itself is swallowed", { timeout: 20_000 }, async (t) => {
  const proxy = await startProxy(t, server.socketPath);
  const connection = await connect({ socketPath: proxy.path, user: "root" });
  const swallowed = proxy.arm(/KILL QUERY/, "swallow", "always");
  const ended = execute(connection, "SELECT SLEEP(3600)").catch((error) => error);
  await interrupt([connection], 300, () => {});
  assert.equal((await ended).message, "No answer within 0.3 s of KILL QUERY");
  assert.ok(swallowed() > 0);
});

test("KILL QUERY that a server refuses is reported with the reason", async () => {
  const connection = await connect({ socketPath: server.socketPath, user: "root" });
  Object.assign(connection.config, { user: "two" }); // a user who may not kill root's query
  const ended = execute(connection, "SELECT SLEEP(3600)").catch((error) => error);
  await interrupt([connection], 300, () => {});
  assert.match((await ended).message, /^KILL QUERY was not possible within 0\.3 s: You are not owner of thread/);
});

test("a run waits for a server in offline_mode, at the start and later", {
  skip: lacks("offline_mode"),
}, async () => {
  await server.root.query("CREATE USER app@localhost; GRANT ALL ON myscript.* TO app@localhost");
  await server.root.query("TRUNCATE slept; SET GLOBAL offline_mode = ON");
  const args = ["-S", server.socketPath, "-u", "app", "-D", "myscript", "-j2", "--idempotent", "--json", "-"];
  const running = start(args, { input: null });
  const write = (id: number) => running.child.stdin.write(`REPLACE INTO slept VALUES (${id}, 0);\n`);
  write(1);
  await running.until("stderr", /offline mode.*trying again/);
  await server.root.query("SET GLOBAL offline_mode = OFF");
  for (const id of [2, 3, 4]) write(id);
  await poll(async () => (await idsIn("slept")).length > 2);
  await server.root.query("SET GLOBAL offline_mode = ON");
  for (const id of [5, 6, 7, 8]) write(id);
  running.child.stdin.end();
  await running.until("stderr", /offline mode.*trying again.*: trying again/s);
  await server.root.query("SET GLOBAL offline_mode = OFF");
  const { status, stdout } = await running.ended;
  assert.deepEqual([status, JSON.parse(stdout).done], [0, 8]);
  assert.deepEqual(await idsIn("slept"), [1, 2, 3, 4, 5, 6, 7, 8]);
});

async function rowsOf(sql: string): Promise<Record<string, unknown>[]> {
  return (await server.root.query(sql))[0] as Record<string, unknown>[];
}

async function idsIn(table: string, column = "id"): Promise<number[]> {
  return (await rowsOf(`SELECT ${column} AS id FROM ${table} ORDER BY 1`)).map(({ id }) => Number(id));
}
