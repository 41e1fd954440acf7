/** Every option of the command: its exit status and its output. Only tests that need a process start one. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import mysql from "mysql2/promise";
import { help, loadFeatures, tableOfFlags } from "../lib/command/flag-table.ts";
import type { Command } from "../lib/command/setup.ts";
import { startSandbox } from "../lib/features/sandbox/sandbox.ts";
import { doWork, type Summary } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { close, connect } from "../lib/mysql/connection.ts";
import { runHere, startHere } from "./command.ts";
import { noLimits, withFilesUpTo } from "./full-disk.ts";
import { type Ended, poll, root, run, runtime, viaNode, viaTsx } from "./run.ts";
import { createAuthority, findFreePort, startServer, type TestServer } from "./server.ts";
import { inSoak } from "./soak.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript-cli-"));
const env = { MYSQL_PWD: "s3cr3t" };
await loadFeatures();
const used = new Set<string>(); // the options that tests have used
let server: TestServer;
let at: string[]; // options that name the server

before(async () => {
  server = await startServer({ tls: true });
  await server.root.query("CREATE USER app IDENTIFIED BY 's3cr3t'");
  await server.root.query("GRANT ALL ON myscript.* TO app");
  at = ["-h", "127.0.0.1", "-P", `${server.port}`, "-u", "app", "-D", "myscript"];
  await createAuthority(join(directory, "other"));
});

after(async () => {
  await server?.stop();
  rmSync(directory, { recursive: true });
});

describe("myscript.ts with", () => {
  test("-h, -P, -u and -D connects to that server and prints its name", async () => {
    const { status, stdout, stderr } = await run([...at, "-"], { input: "DO 1; DO 2", env });
    assert.match(
      stderr,
      /^app@127\.0\.0\.1:\d+\/myscript, 4 workers, server [\d.]+.*\n2 of 2 queries done, in [\d.]+ s \([\d.,]+ a second\)\n0 rows, 0 retries\nlatency [\d.]+ ms median, [\d.]+ p95, [\d.]+ p99, [\d.]+ longest\n$/,
    );
    assert.equal(stdout, "");
    assert.equal(status, 0);
  });

  test("-S connects to the socket", async () => {
    const { status, stderr } = await cli(["-S", server.socketPath, "-u", "root", "-j1", "-"], "DO 1", {});
    assert.match(stderr, new RegExp(`^root@${server.socketPath}, 1 worker`));
    assert.match(stderr, /^1 of 1 queries done/m);
    assert.equal(status, 0);
  });

  test("--url connects to that server", async () => {
    const url = `mysql://app@127.0.0.1:${server.port}/myscript?ssl-mode=DISABLED`;
    const { status, stdout } = await cli(["--url", url, "-j1", "--rows", "-"], "SELECT DATABASE() AS d");
    assert.deepEqual(rowsOf(stdout), [{ d: "myscript" }]);
    assert.equal(status, 0);
  });

  test("--url with a password is refused, because ps would show it", async () => {
    const ended = await cli(["--url", `mysql://app:s3cr3t@127.0.0.1:${server.port}/myscript`, "-"], "DO 1");
    assertRefused(
      ended,
      "--url must not hold a password, which ps would show: put it into MYSQL_PWD or an option file",
    );
  });

  test("--defaults-file connects to the server that the file names", async () => {
    const file = write("my.cnf", `[client]\nhost=127.0.0.1\nport=${server.port}\nuser=app\npassword=s3cr3t\n`);
    const { status, stderr } = await cli(["--defaults-file", file, "-j1", "-"], "DO 1", {});
    assert.match(stderr, /^app@127\.0\.0\.1:\d+, 1 worker/);
    assert.equal(status, 0);
  });

  test("--ssl-mode encrypts, or does not", async () => {
    const cipher = async (mode: string) => {
      const ended = await cli([...at, "--ssl-mode", mode, "-j1", "--rows", "-"], "SHOW STATUS LIKE 'Ssl_cipher'");
      assert.equal(ended.status, 0);
      return rowsOf(ended.stdout)[0]!.Value!;
    };
    assert.notEqual(await cipher("REQUIRED"), "");
    assert.equal(await cipher("disabled"), "");
  });

  test("--ssl-ca trusts only the CAs of that file", async () => {
    const right = await cli([...at, "-j1", "--ssl-ca", server.ca, "-"], "DO 1");
    assert.equal(right.status, 0, right.stderr);
    const wrong = await cli([...at, "--ssl-ca", join(directory, "other.pem"), "-"], "DO 1");
    assertRefused(wrong, /^Cannot connect to app@127\.0\.0\.1:\d+\/myscript: TLS failed: .*certificate/);
  });

  test("--connect-timeout tries for that time and prints the reason of the failure", async () => {
    const port = await findFreePort();
    const cannot = `Cannot connect to app@127.0.0.1:${port}: connection refused`;
    const { status, stdout, stderr } = await cli(
      ["-h", "127.0.0.1", "-P", `${port}`, "-u", "app", "--connect-timeout", "1", "-"],
      "DO 1",
    );
    assert.equal(stderr, `${cannot}: trying again for up to 1 s\nmyscript: ${cannot}\n`);
    assert.equal(stdout, "");
    assert.equal(status, 2);
  });

  test("fewer connections than workers is enough, and no connection is exit status 2", async () => {
    await server.root.query("CREATE USER few IDENTIFIED BY 's3cr3t' WITH MAX_USER_CONNECTIONS 2");
    const here = ["-h", "127.0.0.1", "-P", `${server.port}`, "-u", "few", "--connect-timeout", "1"];
    const some = await cli([...here, "-j4", "--json", "-"], "DO SLEEP(0.5);".repeat(8));
    const { done, workers } = JSON.parse(some.stdout);
    assert.deepEqual([some.status, done, workers], [0, 8, 2]);
    assert.match(some.stderr, /^User 'few' has exceeded .*: trying again for up to 1 s$/m);
    assert.match(some.stderr, /^User 'few' has exceeded .*: going on with [23] of 4 workers$/m);
    const held = await Promise.all(
      [1, 2].map(() => mysql.createConnection({ port: server.port, user: "few", password: "s3cr3t" })),
    );
    try {
      const none = await cli([...here, "--json", "-"], "DO 1");
      assertRefused(
        none,
        /^Cannot connect to few@127\.0\.0\.1:\d+: User 'few' has exceeded the 'max_user_connections'/,
      );
    } finally {
      for (const connection of held) connection.destroy();
    }
  });

  test("-j 1 runs in order, on one connection", async () => {
    await server.root.query("CREATE TABLE ordered (at INT PRIMARY KEY AUTO_INCREMENT, seq INT, connection INT)");
    const queries = Array.from({ length: 500 }, (_, seq) => `INSERT INTO ordered VALUES (0, ${seq}, CONNECTION_ID());`);
    const { status, stderr } = await cli([...at, "-j", "1", "-"], queries.join("\n"));
    assert.match(stderr, /, 1 worker, /);
    assert.equal(status, 0);
    const [rows] = await server.root.query(
      "SELECT COUNT(*) AS n, SUM(at <> seq + 1) AS displaced, COUNT(DISTINCT connection) AS connections FROM ordered",
    );
    assert.deepEqual(rows, [{ n: 500, displaced: "0", connections: 1 }]);
  });

  test("-j and --threads starts that number of workers and threads", async () => {
    const { stdout, stderr } = await cli([...at, "-j", "6", "--threads", "3", "--json", "-"], "DO 1");
    const { workers, threads } = JSON.parse(stdout);
    assert.deepEqual([workers, threads], [6, 3]);
    assert.match(stderr, /, 6 workers on 3 threads, /);
  });

  test("--batch sends several queries in one round trip, with the same outcomes as without it", async () => {
    const input = `${"DO 1;".repeat(100)}SELECT * FROM nowhere;${"DO 1;".repeat(100)}`;
    const { status, stdout } = await cli([...at, "-j", "1", "--batch", "16", "--json", "-"], input);
    const { total, done, failed, failures } = JSON.parse(stdout);
    assert.deepEqual([total, done, failed, failures[0].seq, failures[0].code], [201, 200, 1, 101, "ER_NO_SUCH_TABLE"]);
    assert.equal(status, 1);
  });

  test("--shard takes every N-th query", async () => {
    const { status, stdout } = await cli(
      ["--shard", "2/3", "--dry-run", "-"],
      "DO 1; DO 2; DO 3; DO 4; DO 5; DO 6",
      {},
    );
    assert.equal(stdout, "2\tDO 2\n5\tDO 5\n");
    assert.equal(status, 0);
  });

  test("--dry-run reads no more input than its reader consumes", async () => {
    const command = `yes "DO 1;" | ${viaNode.join(" ")} --dry-run - | head -n 3`;
    assert.equal((await run(["-c", command], { command: ["sh"] })).stdout, "1\tDO 1\n2\tDO 1\n3\tDO 1\n");
  });

  test("--dry-run on a server without TLS prints the queries of buildQueries(), and those of files if the script connects", async () => {
    const plain = await startServer();
    await plain.root.query("CREATE USER app IDENTIFIED BY 's3cr3t'");
    await plain.root.query("GRANT ALL ON myscript.* TO app");
    await plain.root.query("CREATE TABLE myscript.myscript_orders (id INT PRIMARY KEY) SELECT 1 AS id");
    const where = ["-h", "127.0.0.1", "-P", `${plain.port}`, "-u", "app", "-D", "myscript", "--get-server-public-key"];
    const { status, stdout } = await run([...where, "--dry-run"], { env });
    const main = async ({ db, queries, options }: Command) => {
      await close(await connect(db)); // as by a script that always connects
      return doWork(queries!, 1, options);
    };
    const ofFiles = await runHere([...where, "--dry-run", "-"], { main, input: "DO 1", env });
    await plain.stop();
    assert.match(stdout, /^1\tUPDATE myscript_orders SET total = quantity \* price WHERE `id` >= 1 AND `id` <= 1\n$/);
    assert.equal(status, 0);
    assert.deepEqual(ofFiles, { status: 0, stdout: "1\tDO 1\n", stderr: "" });
  });

  test("--dry-run without files needs no server if buildQueries() needs none", async () => {
    const away = ["-h", "127.0.0.1", "-P", `${await findFreePort()}`, "--dry-run"];
    const ended = await runHere(away, { queries: ["DO 1"], env });
    assert.deepEqual(ended, { status: 0, stdout: "1\tDO 1\n", stderr: "" });
  });

  test("--dry-run prints the queries, one a line, and does not connect", async () => {
    let connections = 0;
    const listener = createServer(() => connections++).listen(0, "127.0.0.1");
    await once(listener, "listening");
    try {
      const { port } = listener.address() as AddressInfo;
      const input = "DO 1;\nSELECT 'a\tb',\n\t'\\\\' -- c\n;\r\nDO '\u00e9';";
      const ended = await cli(["-h", "127.0.0.1", "-P", `${port}`, "--dry-run", "-"], input);
      assert.deepEqual(ended, {
        status: 0,
        stdout: "1\tDO 1\n2\tSELECT 'a\\tb',\\n\\t'\\\\\\\\' -- c\n3\tDO '\u00e9'\n",
        stderr: "",
      });
      assert.equal(connections, 0);
    } finally {
      listener.close();
    }
    const file = write("dry.sql", "DO 2");
    assert.deepEqual(await cli(["--dry-run", file], "", {}), { status: 0, stdout: "1\tDO 2\n", stderr: "" });
  });

  test("--retries retries a query that a deadlock has rolled back", async () => {
    await server.root.query("SET GLOBAL log_bin_trust_function_creators = ON");
    const deadlock = (most: number) => `CREATE FUNCTION deadlock() RETURNS INT BEGIN
      SET @tries = COALESCE(@tries, 0) + 1;
      IF @tries <= ${most} THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'made up'; END IF;
      RETURN 1;
    END`;
    const retry = async (retries: string, most: number) => {
      const input = `DELIMITER $$\n${deadlock(most)}$$\nSELECT deadlock()$$\n`;
      await server.root.query("DROP FUNCTION IF EXISTS deadlock");
      const { status, stdout } = await cli([...at, "-j", "1", "--retries", retries, "--json", "-"], input);
      const summary = JSON.parse(stdout);
      return [status, summary.done, summary.failed, summary.retries];
    };
    assert.deepEqual(await retry("3", 3), [0, 2, 0, 3]);
    assert.deepEqual(await retry("2", 3), [1, 1, 1, 2]);
    assert.deepEqual(await retry("0", 3), [1, 1, 1, 0]);
  });

  test("--timeout interrupts a query on the server, and goes on", async () => {
    const { status, stderr, stdout } = await cli(
      [...at, "-j", "1", "--timeout", "0.5", "--json", "-"],
      "SELECT SLEEP(3600) /* too long */; DO 1",
    );
    const { done, failed, failures } = JSON.parse(stdout);
    assert.deepEqual([done, failed, failures[0].code], [1, 1, "ER_QUERY_INTERRUPTED"]);
    assert.match(
      stderr,
      /^query 1, stdin:1 failed: ER_QUERY_INTERRUPTED 1317: .*\(time limit of 0\.5 s\)\n {4}SELECT SLEEP\(3600\)/m,
    );
    assert.equal(status, 1);
    assert.equal(await processes("info LIKE '%too long%' AND id <> CONNECTION_ID()"), 0);
  });

  test("--max-failures starts no more queries after that number of failures", async () => {
    const input = "DO 1; SELECT no; SELECT no; SELECT no; DO 2; DO 3";
    const { status, stdout, stderr } = await cli([...at, "-j", "1", "--max-failures", "2", "--json", "-"], input);
    const { total, done, failed, unknown, skipped } = JSON.parse(stdout);
    assert.equal(total, 6);
    assert.equal(done + failed + unknown + skipped, total);
    assert.ok(failed >= 2);
    assert.match(stderr, /^ended early: too many failures: \d failed, 0 unknown$/m);
    assert.equal(status, 1);
  });

  test("--idempotent retries a query that may have run, which is unknown without it", async () => {
    await server.root.query("CREATE TABLE tries (name VARCHAR(9))");
    const ran = async (name: string, ...args: string[]) => {
      await server.root.query(`CREATE PROCEDURE ${name}() BEGIN
          INSERT INTO tries VALUES ('${name}');
          IF (SELECT COUNT(*) FROM tries WHERE name = '${name}') = 1 THEN KILL CONNECTION_ID(); END IF;
        END`);
      const input = `CALL ${name}()`;
      const { status, stdout } = await cli([...at, "-j", "1", "--json", ...args, "-"], input);
      const { done, unknown, retries } = JSON.parse(stdout);
      const [rows] = await server.root.query(`SELECT 1 FROM tries WHERE name = '${name}'`);
      return [status, done, unknown, retries, (rows as unknown[]).length];
    };
    assert.deepEqual(await ran("once"), [3, 0, 1, 0, 1]);
    assert.deepEqual(await ran("again", "--idempotent"), [0, 1, 0, 1, 2]);
  });

  test("--joblog and --resume run the remaining queries, with --retry-failed and --retry-unknown also those", async () => {
    await server.root.query("CREATE TABLE resumed (seq INT)");
    const log = join(directory, "job.log");
    const input = "INSERT INTO resumed VALUES (1); INSERT INTO later VALUES (2); INSERT INTO resumed VALUES (3)";
    let said = "";
    const counts = async (...args: string[]) => {
      const { status, stdout, stderr } = await cli([...at, "--joblog", log, "-j1", "--json", ...args, "-"], input);
      const { total, done, failed, earlier, failures } = JSON.parse(stdout);
      said = stderr;
      assert.equal(failures.length, failed - earlier.failed);
      const [rows] = await server.root.query("SELECT COUNT(*) AS n FROM resumed");
      return [status, total, done, failed, (rows as { n: number }[])[0]!.n];
    };
    assert.deepEqual(await counts(), [1, 3, 2, 1, 2]);
    assert.deepEqual(await counts("--resume"), [1, 3, 2, 1, 2]);
    assert.match(
      said,
      /^2 of 3 queries done, 1 failed, in [\d.]+ s\nof these, 2 done, 1 failed in an earlier run\nto go on: the same command with --resume --retry-failed\nwhat became of [^\n]*\n$/m,
    );
    await server.root.query("CREATE TABLE later (seq INT)");
    assert.deepEqual(await counts("--resume", "--retry-unknown"), [1, 3, 2, 1, 2]);
    assert.deepEqual(await counts("--resume", "--retry-failed"), [0, 3, 3, 0, 2]);
    assert.doesNotMatch(said, /to go on/);
  });

  test("--resume shows the unknown queries of an earlier run, and how to run them again", async () => {
    const log = join(directory, "unknown.log");
    const input = "DO 1; KILL CONNECTION_ID()";
    const left = await cli([...at, "--joblog", log, "-j1", "-"], input);
    const hint =
      "what is unknown may have run: look first; the same command with --resume --retry-unknown runs those again";
    const end = `${hint}\nwhat became of each query is in ${log}\n`;
    assert.ok(left.stderr.endsWith(end), left.stderr);
    const { status, stderr } = await cli([...at, "--joblog", log, "-j1", "--resume", "-"], input);
    assert.match(
      stderr,
      /^of these, 1 done, 1 unknown in an earlier run\nquery 2, stdin:1 unknown\n {4}KILL CONNECTION_ID\(\)\nwhat is/m,
    );
    assert.ok(stderr.endsWith(end), stderr);
    assert.equal(status, 3);
    const changed = await cli([...at, "--joblog", log, "-j1", "--resume", "-"], "DO 2; DO 3");
    assert.match(
      changed.stderr,
      /^myscript: Cannot resume \S+: query 1, stdin:1 is not the one in the log: give it the same input/m,
    );
    assert.doesNotMatch(changed.stderr, /the same command/);
    assert.equal(changed.status, 2);
  });

  test("--joblog on a full disk is exit status 1, and the message does not claim that the log is complete", {
    skip: noLimits,
  }, async () => {
    const limited = (bytes: number, log: string, input: string) =>
      withFilesUpTo(bytes, () => cli([...at, "--joblog", log, "-"], input));
    const early = await limited(4096, join(directory, "full.log"), "DO SLEEP(0.02);".repeat(2000));
    assert.match(early.stderr, /^ended early: Cannot write \S+: file too large\b/m);
    assert.match(
      early.stderr,
      /^to go on: the same command with --resume\nthe last that ended are not in \S+: they will be unknown\n$/m,
    );
    assert.equal(early.status, 1);
    // The release of all queries fits on the disk, and their outcomes do not.
    const late = await limited(512, join(directory, "last.log"), `DO 1 /* ${"x".repeat(300)} */;`.repeat(4));
    assert.match(late.stderr, /^myscript: Cannot write \S+last\.log: file too large\n4 of 4 queries done, /m);
    assert.equal(late.status, 1);
  });

  test("--ledger runs no query twice, and the same command resumes the run", async () => {
    await server.root.query(
      "DROP TABLE IF EXISTS ledgered; CREATE TABLE ledgered (id INT PRIMARY KEY, v INT) SELECT 1 AS id, 0 AS v",
    );
    const input = "UPDATE ledgered SET v = v + 1; CREATE TABLE IF NOT EXISTS of_the_ledger (id INT); ";
    const first = await cli([...at, "--ledger", "ledger", "-j1", "-"], `${input} SELECT no`);
    assert.match(first.stderr, /^2 of 3 queries done, 1 failed/m);
    assert.match(first.stderr, /^1 committed by themselves, and were recorded in the ledger after they ran$/m);
    assert.match(first.stderr, /^to go on: the same command$/m);
    assert.equal(first.status, 1);
    const again = await cli([...at, "--ledger", "ledger", "-j1", "--json", "-"], input);
    const { done, rows, selfCommitted } = JSON.parse(again.stdout);
    assert.deepEqual([again.status, done, rows, selfCommitted], [0, 2, 0, 0]);
    const changed = await cli([...at, "--ledger", "ledger", "-"], "UPDATE ledgered SET v = 9");
    assert.match(
      changed.stderr,
      /^myscript: Cannot go on: query 1, stdin:1 is not the one in the ledger `\w+`\.`ledger`: give it the same input/m,
    );
    assert.doesNotMatch(changed.stderr, /to go on/);
    assert.equal(changed.status, 2);
    assertRefused(
      await cli([...at, "--ledger", "ledgered", "-"], "DO 1"),
      /^Cannot use the ledger "ledgered": it has the /,
    );
    const [found] = await server.root.query("SELECT v FROM ledgered");
    assert.deepEqual(found, [{ v: 1 }]);
  });

  test("runs USE and SET at the top on every connection, and --init-command before them", async () => {
    await server.root.query("CREATE DATABASE elsewhere");
    await server.root.query("GRANT ALL ON elsewhere.* TO app");
    await server.root.query("CREATE TABLE elsewhere.session_seen (a INT, b INT, d VARCHAR(64))");
    const insert = "INSERT INTO session_seen VALUES (@a, @b, DATABASE()); DO SLEEP(0.01);";
    const input = `SET @b = @a + 1; USE elsewhere; ${insert.repeat(20)}`;
    const { status, stderr } = await cli([...at, "-j", "4", "--init-command", "SET @a = 7", "-"], input);
    assert.match(stderr, /^42 of 42 queries done/m);
    assert.equal(status, 0);
    const [rows] = await server.root.query(
      "SELECT a, b, d, COUNT(*) AS n FROM elsewhere.session_seen GROUP BY a, b, d",
    );
    assert.deepEqual(rows, [{ a: 7, b: 8, d: "elsewhere", n: 20 }]);
    const wrong = await cli([...at, "-"], "USE no_such_database; CREATE TABLE elsewhere.refused (id INT)");
    assert.match(wrong.stderr, /stdin:1, USE no_such_database, has failed: /);
    assert.equal(wrong.status, 2);
  });

  test("--rate limits the queries a second", async () => {
    const { status, stdout } = await cli([...at, "--rate", "20", "-j1", "--json", "-"], "DO 1;".repeat(21));
    const { done, seconds } = JSON.parse(stdout);
    assert.equal(done, 21);
    assert.ok(seconds > 0.7, `${seconds} s`);
    assert.equal(status, 0);
  });

  test("--max-load holds queries back while the server is above the limit", async () => {
    const ended = await cli([...at, "--max-load", "Threads_running=1000,Threads_connected=1000", "-j1", "-"], "DO 1");
    assert.match(ended.stderr, /^1 of 1 queries done/m);
    assert.equal(ended.status, 0);
    const wrong = await cli([...at, "--max-load", "Threads_runing=1", "-"], "DO 1");
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /^myscript: .*Threads_runing.*\n$/m);
    await server.root.query("CREATE USER patient IDENTIFIED BY 's3cr3t'");
    const here = ["-h", "127.0.0.1", "-P", `${server.port}`, "-u", "patient", "-j", "2"];
    for (const [signal, expected] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
      ["SIGHUP", 129],
    ] as const) {
      await poll(async () => (await processes("user = 'patient'")) === 0);
      const waiting = startHere([...here, "--max-load", "Threads_connected=0", "-"], { env, input: "DO 1" });
      // Two connections are the workers', and the third reads the load.
      await poll(async () => (await processes("user = 'patient'")) === 3);
      waiting.kill(signal);
      const { status, stderr } = await waiting.ended;
      assert.match(stderr, /^0 of 1 queries done, 1 skipped/m);
      assert.equal(status, expected);
    }
  });

  test("--max-lag and --control refuse an unusable value before any query runs", async () => {
    const lag = ["--max-lag", "5", "--replicas", `127.0.0.1:${server.port}`];
    for (const [args, refusal] of [
      [
        lag,
        /^myscript: Cannot tell how far \S+ is behind: .*: GRANT (SLAVE MONITOR|REPLICATION CLIENT) ON \*\.\* TO 'app'@'%'$/m,
      ],
      [[...lag, "--heartbeat", "d.nope"], /^myscript: --heartbeat d\.nope: /m],
      [["--control", directory], /^myscript: Cannot use --control ".*": it exists and is not a socket$/m],
    ] as const) {
      const { status, stderr } = await cli([...at, ...args, "-"], "DO 1");
      assert.match(stderr, refusal);
      assert.equal(status, 2);
    }
  });

  test("--rows prints only rows on stdout, and --json prints the summary after them", async () => {
    const { status, stdout, stderr } = await cli([...at, "--rows", "--json", "-"], "SELECT 'x' AS a; SELECT no");
    const [row, summary, ...more] = stdout.split("\n");
    assert.equal(row, '{"seq":1,"row":{"a":"x"}}');
    assert.deepEqual(more, [""]);
    const { seconds, perSecond, latencyMs, workers, threads, ...counts } = JSON.parse(summary!);
    const { failureKinds, ...rest } = counts;
    const [{ message }] = rest.failures;
    assert.deepEqual(failureKinds, [{ count: 1, first: rest.failures[0], next: [] }]);
    assert.deepEqual(rest, {
      total: 2,
      done: 1,
      failed: 1,
      unknown: 0,
      skipped: 0,
      earlier: { done: 0, failed: 0, unknown: 0 },
      retries: 0,
      rows: 1,
      warnings: 0,
      warnedQueries: 0,
      failures: [
        {
          seq: 2,
          at: "stdin:1",
          sql: "SELECT no",
          outcome: "failed",
          code: "ER_BAD_FIELD_ERROR",
          errno: 1054,
          message,
        },
      ],
    });
    assert.match(message, /^Unknown column 'no' in/);
    assert.ok(seconds > 0 && perSecond > 0 && workers > 0 && threads > 0);
    assert.deepEqual(Object.keys(latencyMs), ["p50", "p95", "p99", "max"]);
    assert.match(stderr, /^1 of 2 queries done, 1 failed/m);
    assert.equal(status, 1);
  });

  test("-q prints only failures", async () => {
    assert.deepEqual(await cli([...at, "-j1", "-q", "-"], "DO 1"), { status: 0, stdout: "", stderr: "" });
    const { status, stdout, stderr } = await cli([...at, "-j1", "-q", "-"], "DO 1; SELECT no");
    assert.match(
      stderr,
      /^1 of 2 queries done, 1 failed, .*\n.*\n.*\nquery 2, stdin:1 failed: ER_BAD_FIELD_ERROR 1054: Unknown column 'no' .*\n {4}SELECT no\n$/,
    );
    assert.equal(stdout, "");
    assert.equal(status, 1);
  });

  test("--help and --version print their text, whatever the other options are", async () => {
    assert.deepEqual(await cli(["--help", "missing.sql"]), { status: 0, stdout: `${help()}\n`, stderr: "" });
    const { status, stdout, stderr } = await cli(["--version"]);
    assert.match(stdout, /^myscript \d+\.\d+\.\d+\n$/);
    assert.deepEqual([status, stderr], [0, ""]);
  });

  test("an invalid command line is refused in one line, and nothing runs", async () => {
    const cases: [args: string[], message: string | RegExp][] = [
      [["--wrokers", "3"], "Unknown option --wrokers: did you mean --workers?"],
      [["--dry-run", "--json"], "--json contradicts --dry-run, which runs nothing"],
      [["-j", "no"], '--workers must be a whole number from 1 to 100000, not "no"'],
      [["-S", "/x"], "--socket contradicts --host: give one of them"],
      [
        ["--ssl-mode", "on"],
        '--ssl-mode must be DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY, not "on"',
      ],
      [["--joblog", "no/such/place"], "Cannot use no/such/place: no such file or directory"],
      [["--joblog", write("is.log", "x")], /^Job log \S+is\.log exists: give --resume to go on with it, or remove it$/],
      [["--max-load", "Nope=1"], "--max-load: the server has no numeric status variable Nope"],
      [["--defaults-file", "missing.cnf"], 'Cannot use option file "missing.cnf": no such file or directory'],
      [["--ssl-ca", "missing.pem"], 'Cannot use --ssl-ca "missing.pem": no such file or directory'],
      [
        ["-D", "nowhere"],
        /^Cannot connect to app@.*\/nowhere: Access denied for user 'app'@'%' to database 'nowhere'$/,
      ],
      [["missing.sql"], "Cannot read missing.sql: no such file or directory"],
      [[directory], `Cannot read ${directory}: it is a directory`],
      [[""], /^Cannot read .*: no such file or directory$/],
    ];
    for (const [args, message] of cases) {
      const ended = await cli([...at, ...args, "-"], "CREATE TABLE refused (id INT)");
      assertRefused(ended, message);
      assert.match(ended.stderr, /^.*\n$/, "one line");
    }
    const nameless = "Name a server for these queries: --url, --host, --socket, --defaults-file or MYSQL_HOST";
    assertRefused(await cli(["-"], "DO 1", {}), nameless);
    for (const [args, environment, name] of [
      [[], { MYSQL_USER: "app" }, "MYSQL_USER"],
      [[], { MYSQL_PWD: "s3cr3t" }, "MYSQL_PWD"],
      [["--dry-run"], { MYSQL_DATABASE: "shop" }, "MYSQL_DATABASE"],
      [["-q"], {}, "--quiet"],
    ] as const) {
      const wanted = `${name} needs a server: name one with --url, --host, --socket, --defaults-file or MYSQL_HOST`;
      assertRefused(await cli(args, "", environment), wanted);
    }
    assertRefused(await cli(["-u", "app", "-"], "DO 1", {}), /^--user needs a server: name one with --url/);
    const wrong = await cli([...at, "-"], "DO 1", { MYSQL_PWD: "wr0ng" });
    assertRefused(
      wrong,
      /^Cannot connect to app@127\.0\.0\.1:\d+\/myscript: Access denied for user 'app'@'127\.0\.0\.1' \(using password: YES\)$/,
    );
    const [rows] = await server.root.query("SHOW TABLES LIKE 'refused'");
    assert.deepEqual(rows, []);
  });
});

test("every option of the help is used by a test of this file, or of one of its own", () => {
  const own = ["gates", "lag", "pause", "steering", "transport", "warnings"].map((name) =>
    readFileSync(join(root, `test/${name}.test.ts`), "utf8"),
  );
  const isUsed = (name: string) => used.has(name) || own.join("").includes(`"--${name}"`);
  assert.deepEqual(
    Object.keys(tableOfFlags()).filter((name) => !isUsed(name)),
    [],
  );
});

test("myscript.ts, unedited, computes every row on a server that the options name", async () => {
  const sandbox = await startSandbox({ orders: 20_000 });
  try {
    const { status, stderr } = await run(["-S", sandbox.db.socketPath, "-u", "root", "-D", "myscript"]);
    assert.match(stderr, /^200 of 200 queries done, .*\n20,000 rows, /m);
    assert.equal(status, 0);
    const connection = await mysql.createConnection(sandbox.db);
    const [rows] = await connection.query(
      "SELECT COUNT(*) AS n, SUM(total IS NULL OR total <> quantity * price) AS wrong FROM myscript_orders",
    );
    await connection.end();
    assert.deepEqual(rows, [{ n: 20_000, wrong: "0" }]);
  } finally {
    await sandbox.stop();
  }
});

test("myscript.ts, unedited, ends with one line if the table is missing", async () => {
  const missing =
    /^Table 'myscript\.myscript_orders' doesn't exist: buildQueries\(\) is still the example: edit it, or name SQL files \(myscript\.ts:\d+:\d+\)$/;
  assertRefused(await run(at, { env }), missing);
});

test("standard input that is a directory is refused, and not treated as empty", async () => {
  const ended = await run([...at, "-"], { env, command: ["sh", "-c", 'exec "$@" </', "sh", ...viaNode] });
  assertRefused(ended, /^Cannot read stdin: it is a directory$/);
});

test("an error of the script itself is printed with its name and place; exit status 2 before the first query, 1 later", async () => {
  const bug = (queries: string) => `import { runCommand } from "${root}lib/command/cli.ts";
import { doWork } from "${root}lib/mp.ts";
import { myglobals } from "${root}lib/myglobals.ts";
function* buildQueries() {
  ${queries}throw new Error("my bug");
}
process.exitCode = await runCommand((command) => {
  myglobals.config = { db: command.db };
  return doWork(buildQueries(), command.workers, command.options);
});
`;
  const first = await run(at, { command: [...runtime, write("bug.mts", bug(""))], env });
  assertRefused(first, new RegExp(`^bug: my bug \\(${directory}/bug\\.mts:5:9\\)$`));
  const later = await run(at, {
    command: [...runtime, write("later.mts", bug('for (let n = 0; n < 13_000; n++) yield "DO 1"; '))],
    env,
  });
  assert.match(
    later.stderr,
    /^ended early: my bug \(\S+later\.mts:5:\d+\); not all queries were read\n[1-9][\d,]* of at least /m,
  );
  assert.equal(later.status, 1);
});

test("a script without a function for runCommand(), its result, or `script` for its units is refused in one line", async () => {
  const units = [{ id: 1 }, { id: 2 }];
  assertRefused(
    await runHere(at, { env, queries: units }),
    "Cannot run query 1: it must be SQL text or { sql, values }, not { id: 1 }; for a workerDo(), doWork() needs the option script: import.meta.url",
  );
  assertRefused(
    await runHere(at, { env, main: async () => undefined as never }),
    "The function that runCommand() gets must return what doWork() returns",
  );
  let left: Promise<Summary> | undefined;
  const forgetful = async ({ db, workers, options }: Command) => {
    myglobals.config = { db };
    left = doWork(Array<string>(20_000).fill("DO SLEEP(0.01)"), workers, options);
    return undefined as never;
  };
  assert.equal((await runHere(at, { env, main: forgetful })).status, 2);
  assert.ok((await left)!.skipped > 0, "its run ends, too");
  const ended = await runHere(at, { env, main: { script: import.meta.url } as never });
  assertRefused(ended, "runCommand() needs a function that returns the promise of doWork()");
  assert.equal(ended.stderr.split("\n").length, 2);
});

describe("myscript.ts with files", () => {
  test("runs the files one after the other, also standard input, and names file and line of a failure", async () => {
    const one = write("one.sql", "-- a comment\n\nDO 1;\nSELECT no\n  FROM nowhere;\n");
    const two = write("two.sql", "\u{FEFF}DO 1;\r\n\r\n/* not\r\nthis */ SELECT nor_this;\r\nDO 2");
    const { status, stderr } = await cli([...at, "-j", "1", one, "-", two], "DO 1; DO\n\n(SELECT 1 FROM neither)");
    assert.match(stderr, /^4 of 7 queries done, 3 failed/m);
    const named = [...stderr.matchAll(/^query (\d), (\S+) failed: (\w+) \d+: /gm)].map(([, ...found]) => found);
    assert.deepEqual(named, [
      ["2", `${one}:4`, "ER_NO_SUCH_TABLE"],
      ["4", "stdin:1", "ER_NO_SUCH_TABLE"],
      ["6", `${two}:4`, "ER_BAD_FIELD_ERROR"],
    ]);
    assert.equal(status, 1);
  });

  test("runs nothing if one file is missing", async () => {
    const fine = write("fine.sql", "CREATE TABLE started (id INT)");
    assertRefused(await cli([...at, fine, "missing.sql"]), "Cannot read missing.sql: no such file or directory");
    const [rows] = await server.root.query("SHOW TABLES LIKE 'started'");
    assert.deepEqual(rows, []);
  });

  test("refuses a NUL byte and a quote that is not closed, with file and line", async () => {
    await server.root.query("CREATE TABLE myscript.kept SELECT 1");
    const cut = write("cut.sql", "DO 1;\n\nDELETE FROM kept \0\0\0\0");
    const open = write("open.sql", "DO 1;\nDO 'a;\n\nDO 2;\n");
    for (const [file, line, why] of [
      [cut, 3, "a NUL byte, which is no SQL \\(the file is damaged, or UTF-16\\)"],
      [open, 2, "the ' that opens here is not closed"],
    ] as const) {
      const { status, stdout, stderr } = await cli([...at, "-j1", "--json", file]);
      const reason = `Cannot read ${file}:${line}: ${why}; not all queries were read`;
      assert.match(stderr, new RegExp(`^ended early: ${reason}\n1 of at least 1 queries done`, "m"));
      assert.equal(JSON.parse(stdout).done, 1); // the query before the faulty one
      assert.equal(status, 2);
    }
    const [rows] = await server.root.query("SELECT COUNT(*) AS count FROM myscript.kept");
    assert.deepEqual(rows, [{ count: 1 }]);
    const first = write("first.sql", "DO 'a");
    assertRefused(await cli([...at, first]), `Cannot read ${first}:1: the ' that opens here is not closed`);
  });

  test("ends at a session statement after other queries unless one worker runs all queries", async () => {
    const input = "DO 1;\nSET @a = 1;\nCREATE TABLE myscript.refused (id INT);\n";
    for (const [flags, why] of [
      [["-j", "4"], "there are 4: put it before all other queries, or use one worker"],
      [["-j", "1", "--shard", "1/1"], "a shard has only some of the queries: put it before all others"],
      [["-j", "1", "--ledger", "session_ledger"], "with a ledger each query must stand by itself"],
    ] as const) {
      const { status, stderr } = await cli([...at, ...flags, "-"], input);
      assert.ok(stderr.includes(`Cannot go on at stdin:2: SET applies to one connection only, and ${why}`), stderr);
      assert.equal(status, 2);
    }
    const [refused] = await server.root.query("SHOW TABLES FROM myscript LIKE 'refused'");
    assert.deepEqual(refused, []);
    assert.equal((await cli([...at, "-j", "1", "-"], "DO 1;\nSET @a = 1;\nDO @a")).status, 0);
    const joblog = join(directory, "session.joblog");
    const { stderr } = await cli([...at, "-j", "1", "--joblog", joblog, "-"], "DO 1;\nSET @a = 1;\n");
    assert.match(
      stderr,
      /^warning: stdin:2: SET applies to one connection only: if the run is interrupted, --resume refuses/m,
    );
    assert.doesNotMatch((await cli([...at, "-"], "DO 1; SET GLOBAL x = 1")).stderr, /warning/);
  });

  test("runs a dump in order with -j 1", async () => {
    const dump = `
/*M!999999\\- enable the sandbox mode */ 
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET NAMES utf8mb4 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
DROP TABLE IF EXISTS \`child\`;
CREATE TABLE \`child\` (\`id\` int PRIMARY KEY, \`parent\` int, FOREIGN KEY (\`parent\`) REFERENCES \`parent\` (\`id\`));
LOCK TABLES \`child\` WRITE;
/*!40000 ALTER TABLE \`child\` DISABLE KEYS */;
INSERT INTO \`child\` VALUES (1,1),(2,1);
/*!40000 ALTER TABLE \`child\` ENABLE KEYS */;
UNLOCK TABLES;
CREATE TABLE \`parent\` (\`id\` int PRIMARY KEY, \`name\` text);
LOCK TABLES \`parent\` WRITE;
INSERT INTO \`parent\` VALUES (1,'it''s; \\'quoted\\' \u{1F600}');
UNLOCK TABLES;
DELIMITER ;;
/*!50003 CREATE TRIGGER t BEFORE INSERT ON parent FOR EACH ROW BEGIN SET NEW.name = 'new'; END */;;
DELIMITER ;
INSERT INTO parent (id) VALUES (2);
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
-- Dump completed
`;
    await server.root.query("GRANT TRIGGER, SUPER ON *.* TO app");
    const { status, stderr } = await cli([...at, "-j", "1", "-"], dump);
    assert.equal(status, 0, stderr);
    const [rows] = await server.root.query(
      "SELECT p.id, name, COUNT(c.id) AS children FROM parent p LEFT JOIN child c ON c.parent = p.id GROUP BY p.id",
    );
    assert.deepEqual(rows, [
      { id: 1, name: "it's; 'quoted' \u{1F600}", children: 2 },
      { id: 2, name: "new", children: 0 },
    ]);
  });

  test("runs nothing and exits with 0 if the file is empty", async () => {
    const { status, stderr } = await cli([...at, "-j1", "-"], " -- nothing\n;;\n");
    assert.match(stderr, /^warning: no queries in stdin\n[^\n]*\n0 of 0 queries done/m);
    assert.equal(status, 0);
  });

  test("started by tsx, has the same exit status", { skip: inSoak }, async () => {
    const statusOf = async (input: string, ...args: string[]) =>
      (await run([...args, "-j1", "-"], { command: viaTsx, env, input })).status;
    assert.equal(await statusOf("DO 1", ...at), 0);
    assert.equal(await statusOf("SELECT no", ...at), 1);
    assert.equal(await statusOf("KILL CONNECTION_ID()", ...at), 3);
    assert.equal(await statusOf("DO 1", "--nothing"), 2);
  });
});

function cli(args: readonly string[], input = "", environment: NodeJS.ProcessEnv = env): Promise<Ended> {
  for (const [name, { letter }] of Object.entries(tableOfFlags())) {
    if (args.includes(`--${name}`) || (letter && args.includes(`-${letter}`))) used.add(name);
  }
  return runHere(args, { input, env: environment });
}

async function processes(where: string): Promise<number> {
  const [rows] = await server.root.query(`SELECT 1 FROM information_schema.processlist WHERE ${where}`);
  return (rows as unknown[]).length;
}

function rowsOf(stdout: string): Record<string, string>[] {
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).row);
}

function assertRefused({ status, stdout, stderr }: Ended, message: string | RegExp): void {
  const lines = stderr.split("\n");
  const said = lines.at(-2)?.replace(/^myscript: /, "") ?? "";
  if (typeof message === "string") assert.equal(said, message);
  else assert.match(said, message);
  assert.equal(stdout, "");
  assert.equal(status, 2);
}

function write(name: string, content: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}
