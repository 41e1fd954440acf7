/** TLS and compression, LOAD DATA LOCAL, and authentication. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { after, type TestContext, test } from "node:test";
import type { ConnectionOptions } from "mysql2";
import type { RowDataPacket } from "mysql2/promise";
import { doWork, type WorkOptions } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { connect, streamOf } from "../lib/mysql/connection.ts";
import { verdictOf } from "../lib/mysql/errors.ts";
import { execute } from "../lib/mysql/execute.ts";
import { fileIn } from "../lib/mysql/local-infile.ts";
import { runHere, startHere } from "./command.ts";
import { startProxy } from "./proxy.ts";
import { poll } from "./run.ts";
import { startServer } from "./server.ts";

const server = await startServer({ tls: true, args: ["--local-infile=1"] });
const directory = mkdtempSync(join(tmpdir(), "myscript-infile-"));
const file = (name: string) => join(directory, name);
after(() => {
  rmSync(directory, { recursive: true });
  return server.stop();
});
await server.root.query("CREATE USER guest@'%' REQUIRE X509");
await server.root.query("GRANT ALL ON *.* TO guest@'%'");
await server.root.query("CREATE TABLE myscript.loaded (id INT PRIMARY KEY, v VARCHAR(20))");
const at = ["-h", "127.0.0.1", "-P", String(server.port), "-u", "root", "-D", "myscript", "--ssl-ca", server.ca];
await server.root.query("CREATE USER app");
await server.root.query("GRANT ALL ON myscript.* TO app");
await server.root.query("CREATE USER root@'127.0.0.1'");
await server.root.query("GRANT ALL ON *.* TO root@'127.0.0.1'");
const load = (name: string) => `LOAD DATA LOCAL INFILE '${file(name)}' INTO TABLE loaded FIELDS TERMINATED BY ','`;

for (const [way, options] of [
  ["one by one", {}],
  ["in batches", { batch: 16 }],
  ["with a ledger", { ledger: "transported" }],
] as [string, WorkOptions][]) {
  test(`doWork() over TLS and compressed gives every row of queries that run ${way}`, async () => {
    const ssl = { ca: readFileSync(server.ca), rejectUnauthorized: true };
    const { port } = server;
    myglobals.config.db = { host: "127.0.0.1", port, user: "root", database: "myscript", ssl, compress: true };
    await server.root.query("DROP TABLE IF EXISTS myscript.sent, myscript.transported");
    await server.root.query("CREATE TABLE myscript.sent (id INT PRIMARY KEY, v TEXT)");
    const long = "é".repeat(3000);
    const inserts = Array.from({ length: 300 }, (_, n) =>
      n % 3 === 0
        ? { sql: "INSERT INTO sent VALUES (?, ?)", values: [n, long] }
        : `INSERT INTO sent VALUES (${n}, '${long}')`,
    );
    const { done } = await doWork(inserts, 4, options);
    assert.equal(done, 300);
    let text = "";
    const onRows = (lines: Uint8Array) => {
      text += Buffer.from(lines).toString();
    };
    const selects = Array.from({ length: 300 }, (_, n) => `SELECT v FROM sent WHERE id = ${n}`);
    const ledger = options.ledger && { ledger: "transported_rows" };
    assert.equal((await doWork(selects, 4, { ...options, ...ledger, onRows })).done, 300);
    const lines = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(new Set(lines.map(({ seq }) => seq)).size, 300);
    assert.ok(lines.every(({ row }) => row.v === long));
    const [status] = await server.root.query("SHOW GLOBAL STATUS LIKE 'Ssl_accepts'");
    assert.ok(Number((status as { Value: string }[])[0]!.Value) > 0);
  });
}

test("LOAD DATA LOCAL needs --local-infile, and then loads split files in parallel, compressed and over TLS", async () => {
  const parts = [0, 1, 2, 3].map((part) => `part${part}.csv`);
  for (const [part, name] of parts.entries()) {
    const lines = Array.from({ length: 5000 }, (_, n) => `${part * 5000 + n},v${n}\n`);
    writeFileSync(file(name), lines.join(""));
  }
  writeFileSync(file("load.sql"), parts.map((name) => `${load(name)};\n`).join(""));
  const refused = await runHere([...at, file("load.sql")]);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, / failed: \w+ \d+: .*; to let it read files here, give --local-infile$/m);
  const loaded = await runHere([...at, "--compress", "--local-infile", "--json", file("load.sql")]);
  assert.equal(loaded.status, 0, loaded.stderr);
  assert.equal(JSON.parse(loaded.stdout).rows, 20_000);
  const [rows] = await server.root.query("SELECT COUNT(*) AS n, SUM(id) AS ids FROM myscript.loaded");
  assert.deepEqual(rows, [{ n: 20_000, ids: "199990000" }]);
  const missing = await runHere([...at, "--local-infile", "-"], { input: load("nowhere.csv") });
  assert.match(missing.stderr, /query 1, stdin:1 failed: ENOENT.*nowhere\.csv/);
});

test("a server that asks for another file than the statement names does not get it", async (t) => {
  writeFileSync(file("wanted.csv"), "90001,a\n");
  writeFileSync(file("secret.csv"), "90002,b\n");
  const upstream = new Set<net.Socket>();
  const liar = net.createServer((client) => {
    const honest = net.connect(server.port, "127.0.0.1");
    upstream.add(honest.on("error", () => client.destroy()).on("close", () => client.destroy()));
    client.on("error", () => honest.destroy()).on("close", () => honest.destroy());
    client.pipe(honest);
    honest.on("data", (chunk: Buffer) => {
      const at = chunk.indexOf("\xfb", 0, "latin1") < 0 ? -1 : chunk.indexOf("wanted.csv");
      if (at >= 0) chunk.write("secret.csv", at);
      client.write(chunk);
    });
  });
  await new Promise<void>((resolve) => liar.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    liar.close();
    for (const socket of upstream) socket.destroy();
  });
  const { port } = liar.address() as net.AddressInfo;
  const there = ["-h", "127.0.0.1", "-P", String(port), "-u", "root", "-D", "myscript", "--ssl-mode", "DISABLED"];
  const { status, stderr } = await runHere([...there, "--local-infile", "-"], { input: load("wanted.csv") });
  assert.match(
    stderr,
    /The server asks for the file ".*secret\.csv", and the statement names ".*wanted\.csv": it was not sent/,
  );
  assert.equal(status, 1);
  const [rows] = await server.root.query("SELECT * FROM myscript.loaded WHERE id > 90000");
  assert.deepEqual(rows, []);
});

const loading = (name: string) => ({ input: `${load(name)};` });
const local = ["-S", server.socketPath, "-u", "root", "-D", "myscript", "--local-infile", "-j1", "--json", "-"];
const ofLoaded = async (table = "loaded") =>
  ((await server.root.query(`SELECT COUNT(*) AS n FROM myscript.${table}`))[0] as { n: number }[])[0]!.n;

test("LOAD DATA LOCAL whose connection is lost while the file is sent is unknown, and not retried", async (t) => {
  await server.root.query("CREATE TABLE myscript.twice (id INT, v VARCHAR(20)) ENGINE = MyISAM");
  writeFileSync(file("twice.csv"), Array.from({ length: 200_000 }, (_, n) => `${n},marked\n`).join(""));
  const text = load("twice.csv").replace("loaded", "myscript.twice");
  const proxy = await startProxy(t, server.socketPath);
  for (const options of [{}, { ledger: "load_ledger" }]) {
    await server.root.query("TRUNCATE myscript.twice");
    const breaks = proxy.arm(/,marked\n/, async () => {});
    myglobals.config.db = { socketPath: proxy.path, user: "root", database: "myscript", flags: ["LOCAL_FILES"] };
    const { unknown, retries } = await doWork([text], 1, options);
    assert.deepEqual([breaks(), unknown, retries], [1, 1, 0]);
    assert.ok((await ofLoaded("twice")) < 200_000);
  }
  // The error depends on the operating system. EPIPE is one that occurs.
  const upstream = net.connect(server.socketPath);
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _, then) {
      const error = Object.assign(new Error("write EPIPE"), { code: "EPIPE" });
      if (chunk.includes(",marked")) then(error);
      else upstream.write(chunk, then);
    },
  });
  upstream.on("data", (chunk) => stream.push(chunk));
  const connection = await connect({ stream: () => stream, user: "root", flags: ["LOCAL_FILES"] } as ConnectionOptions);
  const error = await execute(connection, text).catch((error) => error);
  assert.deepEqual([error.code, verdictOf(error)], ["EPIPE", "unknown"]);
  upstream.destroy();
});

test("LOAD DATA LOCAL from a pipe that nobody writes to ends at its time limit and at the second Ctrl-C", async () => {
  await server.root.query("TRUNCATE myscript.loaded");
  execFileSync("mkfifo", [file("pipe.csv")]);
  const limited = await runHere([...local, "--timeout", "0.3"], loading("pipe.csv"));
  assert.deepEqual([limited.status, JSON.parse(limited.stdout).failed], [1, 1], limited.stderr);
  const running = startHere(local, loading("pipe.csv"));
  await poll(async () => {
    const [rows] = await server.root.query("SELECT 1 FROM information_schema.processlist WHERE info LIKE 'LOAD DATA%'");
    return (rows as unknown[]).length === 1;
  });
  running.kill("SIGINT");
  const again = setInterval(() => running.kill("SIGINT"), 250); // repeated, because a SIGINT right after the first one counts as the same
  const { status, stdout } = await running.ended;
  clearInterval(again);
  const { failed, unknown } = JSON.parse(stdout); // unknown if its thread was ended, as on a busy machine
  assert.deepEqual([status, failed + unknown], [130, 1], stdout);
  assert.equal(await ofLoaded(), 0);
});

test("LOAD DATA LOCAL from a pipe waits for its writer", async () => {
  const running = startHere(local, loading("pipe.csv"));
  const writer = createWriteStream(file("pipe.csv")); // it opens when there is a reader
  await once(writer, "open");
  writer.write("1,a\n2,b\n", () => writer.end("3,c\n"));
  const { status, stdout } = await running.ended;
  assert.deepEqual([status, JSON.parse(stdout).rows, await ofLoaded()], [0, 3, 3], stdout);
});

test("LOAD DATA LOCAL names the file that it cannot read, and leaves no listeners on the connection", async () => {
  const { stdout } = await runHere(local, loading("."));
  assert.match(JSON.parse(stdout).failures[0].message, /^EISDIR: .* '.*'$/);
  const connection = await connect({ socketPath: server.socketPath, user: "root", flags: ["LOCAL_FILES"] });
  writeFileSync(file("empty.csv"), "");
  const listeners = () => ["pause", "drain"].map((event) => streamOf(connection).listenerCount(event));
  const before = listeners();
  const into = (table: string) => load("empty.csv").replace("loaded", `myscript.${table}`);
  await execute(connection, into("loaded"));
  await assert.rejects(execute(connection, `${into("loaded")} (no_such_column)`));
  await assert.rejects(execute(connection, into("loaded").replace("empty", "missing")), /ENOENT/);
  assert.deepEqual(listeners(), before);
  connection.destroy();
});

test("fileIn() returns the file name of a LOAD statement, and undefined for any other", () => {
  assert.equal(fileIn("/* all */ load data low_priority local infile 'a\\'b.csv' into table t"), "a'b.csv");
  for (const text of [
    "LOAD DATA /* c */ LOCAL INFILE 'a.csv' INTO TABLE t",
    "LOAD DATA LOCAL -- c\n INFILE # 'b.csv'\n'a.csv' INTO TABLE t",
    "/*!50001 LOAD DATA LOCAL INFILE 'a.csv' INTO TABLE t */",
    "LOAD DATA /*!40000 CONCURRENT LOCAL */ INFILE/**/'a.csv' INTO TABLE t",
  ]) {
    assert.equal(fileIn(text), "a.csv", text);
  }
  assert.equal(fileIn("LOAD XML LOCAL INFILE \"it''s\" INTO TABLE t"), "it''s");
  for (const text of ["LOAD DATA INFILE 'a' INTO TABLE t", "SELECT 'LOAD DATA LOCAL INFILE ''a'''", "DO 1"]) {
    assert.equal(fileIn(text), undefined, text);
  }
});

/** The first bytes of a TLS handshake. */
const clientHello = /\x16\x03\x01/;

for (const [place, fate] of [
  ["before", "lose"],
  ["after", async () => undefined],
] as const) {
  test(`a TLS handshake that is cut ${place} the server has it is retried, at the start and later`, async (t) => {
    const proxy = await startProxy(t, server.socketPath);
    const args = ["-S", proxy.path, "-u", "app", "-D", "myscript", "--ssl-mode", "REQUIRED", "-j", "2", "--json"];
    let hits = proxy.arm(clientHello, fate, "always");
    const queries = async function* () {
      yield "DO 1";
      hits = proxy.arm(clientHello, fate, "always");
      await poll(async () => {
        const [connections] = await server.root.query<RowDataPacket[]>(
          "SELECT id FROM information_schema.processlist WHERE user = 'app'",
        );
        for (const { id } of connections) await server.root.query(`KILL ${id}`).catch(() => {});
        return connections.length === 0;
      });
      yield* ["DO 2", "DO 3"];
      await passAfter(3);
    };
    const ended = runHere(args, { queries: queries() });
    await passAfter(3);
    const { status, stdout, stderr } = await ended;
    assert.equal(status, 0, stderr);
    assert.equal(JSON.parse(stdout).done, 3);
    assert.match(stderr, /: TLS failed: .*: trying again for up to 60 s$/m);

    async function passAfter(times: number): Promise<void> {
      await poll(() => hits() >= times);
      proxy.arm(/^never$/, "lose");
    }
  });
}

test("--ssl-cert and --ssl-key connect an account that requires a certificate, also from an option file", async () => {
  const who = at.with(5, "guest");
  const own = [file("client.pem"), file("client.key")] as const;
  await server.certifyClient(file("client"));
  const query = { input: "DO 1" };
  assert.match((await runHere([...who, "-"], query)).stderr, /Access denied/);
  const let_in = await runHere([...who, "--ssl-cert", own[0], "--ssl-key", own[1], "-"], query);
  assert.equal(let_in.status, 0, let_in.stderr);
  writeFileSync(file("client.cnf"), `[client]\nssl-cert=${own[0]}\nssl_key=${own[1]}\ncompress\n`, { mode: 0o600 });
  const fromFile = await runHere(["--defaults-file", file("client.cnf"), ...who, "-"], query);
  assert.equal(fromFile.status, 0, fromFile.stderr);
  for (const [flags, message] of [
    [["--ssl-cert", own[0]], "--ssl-cert needs --ssl-key: a client's certificate and its key go together"],
    [["--ssl-cert", own[1], "--ssl-key", own[1]], "it holds no certificate in PEM format"],
    [["--ssl-cert", own[0], "--ssl-key", own[0]], "it holds no private key without a passphrase in PEM format"],
    [["--ssl-cert", server.ca, "--ssl-key", own[1]], "it is not the key of --ssl-cert"],
  ] as const) {
    const refused = await runHere([...who, ...flags, "-"], query);
    assert.ok(refused.stderr.trimEnd().endsWith(message), refused.stderr);
    assert.equal(refused.status, 2);
  }
});

/** Starts a fake server: it greets as the real one, asks for the password with these packets, and closes. Keeps the answers. */
async function startAsking(t: TestContext, ...asked: readonly Uint8Array[]) {
  const got: Buffer[] = [];
  const asking = net.createServer((client) => {
    const left = [...asked];
    const upstream = net.connect(server.socketPath);
    upstream.once("data", (greeting) => {
      client.write(greeting);
      upstream.destroy();
    });
    client
      .on("error", () => {})
      .on("data", (packet) => {
        got.push(packet.subarray(4));
        const next = left.shift();
        if (next) client.write(Buffer.from([next.length & 0xff, next.length >> 8, 0, packet[3]! + 1, ...next]));
        else client.destroy();
      });
  });
  t.after(() => asking.close());
  await new Promise<void>((resolve) => asking.listen(0, "127.0.0.1", resolve));
  const { port } = asking.address() as net.AddressInfo;
  const args = [
    "-h",
    "127.0.0.1",
    "-P",
    String(port),
    "-u",
    "app",
    "--ssl-mode",
    "DISABLED",
    "--connect-timeout",
    "0.1",
  ];
  const runWith = async (flag: string) => {
    const { status, stderr } = await runHere([...args, flag, "-"], { input: "DO 1", env: { MYSQL_PWD: "secret" } });
    assert.equal(status, 2);
    assert.match(stderr, /the server closed the connection/); // perhaps before it is tried again
  };
  return { got, db: { host: "127.0.0.1", port, user: "app", password: "secret" }, runWith };
}

const switchTo = (plugin: string) => Buffer.from(`\xfe${plugin}\0${"0123456789abcdefghij"}\0`, "latin1");

for (const [plugin, ...full] of [["caching_sha2_password", Buffer.from([1, 4])], ["sha256_password"]] as const) {
  test(`over plain TCP, the password for ${plugin} is encrypted with the server's own key only if that is trusted`, async (t) => {
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const key = Buffer.from(`\x01${publicKey.export({ type: "spki", format: "pem" })}`, "latin1");
    const { got, db, runWith } = await startAsking(t, switchTo(plugin), ...full, key);
    await assert.rejects(connect(db), /may only go over a secure connection: .*--get-server-public-key/);
    const asked = got.splice(0);
    assert.deepEqual(asked.at(-1), Buffer.from([full.length > 0 ? 2 : 1]), "it has only asked for the key");
    await runWith("--get-server-public-key");
    assert.equal(got[asked.length]!.length, 256);
  });
}

test("the password is sent in clear text only if that is allowed", async (t) => {
  const { got, db, runWith } = await startAsking(t, switchTo("mysql_clear_password"));
  await assert.rejects(connect(db), /asks for the password in clear text: .*--enable-cleartext-plugin/);
  assert.equal(got.splice(0).length, 1);
  await runWith("--enable-cleartext-plugin");
  assert.equal(got[1]!.toString(), "secret\0");
});
