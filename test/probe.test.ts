import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inspect } from "node:util";
import mysql from "mysql2/promise";
import { type Probe, probeServer } from "../lib/command/probe.ts";
import type { AccountOptions } from "../lib/mysql/accounts.ts";
import { type Flags, resolve } from "./resolve.ts";
import { createAuthority, findFreePort, hasIPv6, startServer, type TestServer } from "./server.ts";
import { lacks } from "./target.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript-probe-"));
const password = "s3cr3t pass'word\"#\\";
const wrongPassword = "wr0ng-s3cr3t";
let plain: TestServer;
let secure: TestServer;

before(async () => {
  [plain, secure] = await Promise.all([startServer(), startServer({ tls: true })]);
  for (const { root } of [plain, secure]) {
    await root.query("CREATE USER app IDENTIFIED BY ?", [password]);
    await root.query("CREATE USER secure IDENTIFIED BY ? REQUIRE SSL", [password]);
    await root.query("GRANT ALL ON myscript.* TO app, secure");
  }
});

after(async () => {
  await Promise.all([plain?.stop(), secure?.stop()]);
  rmSync(directory, { recursive: true });
});

test("probeServer() returns the account and the server's address, over TCP, IPv6 and a socket", async (t) => {
  const { port, socketPath } = plain;
  const [[row]] = await plain.root.query<mysql.RowDataPacket[]>("SELECT VERSION() AS version");
  const expect = async (flags: Flags, where: string) => {
    const { db, ...said } = await probe(flags);
    assert.deepEqual(said, { where, version: row!.version });
    assert.deepEqual(structuredClone(db), db);
  };
  await expect({ host: "127.0.0.1", port: `${port}`, database: "myscript" }, `app@127.0.0.1:${port}/myscript`);
  await expect({ host: "localhost", port: `${port}` }, `app@localhost:${port}`);
  await expect({ socket: socketPath, database: "myscript" }, `app@${socketPath}/myscript`);
  if (hasIPv6) await expect({ host: `[::1]:${port}` }, `app@[::1]:${port}`);
  else t.diagnostic("this machine has no ::1: IPv6 is not tested");
});

test("probeServer() reads the password from the environment and the option file", async () => {
  const { port } = plain;
  const quoted = password.replaceAll("\\", "\\\\").replaceAll('"', '\\"');
  const file = join(directory, "my.cnf");
  writeFileSync(file, `[client]\nhost=127.0.0.1\nport=${port}\nuser=app\npassword="${quoted}"\n`);
  await connect({ "defaults-file": file }, {});
  await connect({ user: "app" }, { MYSQL_HOST: "127.0.0.1", MYSQL_TCP_PORT: `${port}`, MYSQL_PWD: password });
});

test("probeServer() reports in one line why it cannot connect", async () => {
  const { port, socketPath } = plain;
  const closed = await findFreePort();
  const at = { host: "127.0.0.1", port: `${port}` };
  const cannot = "Cannot connect to app@";
  const denied =
    /^Cannot connect to app@127\.0\.0\.1:\d+: Access denied for user 'app'@'127\.0\.0\.1' \(using password: YES\)$/;
  await assertFails({ ...at, env: { MYSQL_PWD: wrongPassword } }, denied);
  await assertFails({ url: `mysql://app@127.0.0.1:${port}`, env: { MYSQL_PWD: wrongPassword } }, denied);
  await assertFails({ ...at, env: {} }, /: Access denied for user .* \(using password: NO\)$/);
  await assertFails(
    { ...at, database: "shop" },
    `${cannot}127.0.0.1:${port}/shop: Access denied for user 'app'@'%' to database 'shop'`,
  );
  await assertFails(
    { socket: socketPath, user: "root", database: "shop", env: {} },
    /\/shop: Unknown database 'shop'$/,
  );
  await assertFails({ host: "127.0.0.1", port: `${closed}` }, `${cannot}127.0.0.1:${closed}: connection refused`);
  await assertFails({ host: "nowhere.invalid" }, /^Cannot connect to app@nowhere\.invalid:3306: unknown host/);
  await assertFails({ socket: join(directory, "none") }, `${cannot}${directory}/none: no such socket`);
  await assertFails({ ...at, database: "two\nlines" }, /two lines/);
});

test("probeServer() fails for a host that does not answer, closes the connection, or is no MySQL server", async () => {
  const behaviours: [behave: (socket: Socket) => void, timeoutSeconds: number, reason: RegExp][] = [
    [() => {}, 0.2, /: no answer in time$/],
    [(socket) => socket.end(), 10, /: the server closed the connection$/],
    [(socket) => socket.end("SSH-2.0-OpenSSH_9.2p1\r\n"), 10, /: the server closed the connection$/],
    [(socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"), 0.2, /: no answer in time$/],
  ];
  for (const [behave, timeoutSeconds, reason] of behaviours) {
    const { server, port } = await listen(behave);
    await assertFails({ host: "127.0.0.1", port: `${port}`, timeoutSeconds }, reason);
    server.close();
  }
});

test("probeServer() uses the first host that answers, or reports the reason for each host", async () => {
  const { server, port: silent } = await listen(() => {});
  const closed = await findFreePort();
  const host = `127.0.0.1:${closed},127.0.0.1:${silent},127.0.0.1:${plain.port}`;
  const { db, where } = await probe({ host }, { MYSQL_PWD: password }, 4);
  assert.deepEqual([db.host, db.port, where], ["127.0.0.1", plain.port, `app@${host}`]);
  await assertFails(
    { host: `127.0.0.1:${closed},127.0.0.1:${silent}`, timeoutSeconds: 2 },
    `Cannot connect to app@127.0.0.1:${closed}: connection refused; app@127.0.0.1:${silent}: no answer in time`,
  );
  server.close();
});

test("probeServer() uses TLS as --ssl-mode says", async () => {
  const at = { host: "localhost", port: `${secure.port}` };
  assert.equal(await connect({ ...at, "ssl-mode": "DISABLED" }), false);
  assert.equal(await connect(at), true);
  assert.equal(await connect({ ...at, host: "127.0.0.1" }), true);
  assert.equal(await connect({ ...at, "ssl-mode": "PREFERRED" }), true);
  assert.equal(await connect({ ...at, "ssl-mode": "REQUIRED" }), true);
  assert.equal(await connect({ ...at, "ssl-ca": secure.ca }), true);
  assert.equal(await connect({ ...at, "ssl-mode": "VERIFY_CA", "ssl-ca": secure.ca, host: "127.0.0.1" }), true);
  assert.equal(await connect({ ...at, "ssl-mode": "VERIFY_IDENTITY", "ssl-ca": secure.ca }), true);
  assert.equal(await connect({ socket: secure.socketPath }), false);
  assert.equal(await connect({ socket: secure.socketPath, "ssl-mode": "REQUIRED" }), true);
});

test("probeServer() connects without TLS only with PREFERRED", async () => {
  const at = { host: "localhost", port: `${plain.port}` };
  assert.equal((await probe(at)).db.ssl, undefined);
  assert.equal(await connect(at), false);
  for (const mode of ["REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"]) {
    await assertFails(
      { ...at, "ssl-mode": mode },
      `Cannot connect to app@localhost:${plain.port}: the server offers no TLS`,
    );
  }
});

test("probeServer() is refused without TLS if the account requires TLS", async () => {
  const at = { host: "localhost", port: `${secure.port}`, user: "secure" };
  assert.equal(await connect(at), true);
  await assertFails({ ...at, "ssl-mode": "DISABLED" }, /: Access denied for user 'secure'@/);
});

test("probeServer() refuses a certificate of another CA", async () => {
  await createAuthority(join(directory, "other"));
  const at = { host: "localhost", port: `${secure.port}` };
  const untrusted =
    /^Cannot connect to app@localhost:\d+: TLS failed: (?:unable to verify the first|self-signed) certificate/;
  for (const mode of ["VERIFY_CA", "VERIFY_IDENTITY"]) {
    await assertFails({ ...at, "ssl-mode": mode, "ssl-ca": join(directory, "other.pem") }, untrusted);
    await assertFails({ ...at, "ssl-mode": mode }, untrusted);
  }
});

test("probeServer() refuses a certificate for another host name only with VERIFY_IDENTITY", {
  skip: lacks("ALTER INSTANCE RELOAD TLS"),
}, async () => {
  const at = { host: "localhost", port: `${secure.port}`, "ssl-ca": secure.ca };
  await secure.certify("db1.example.org");
  await assertFails(
    { ...at, "ssl-mode": "VERIFY_IDENTITY" },
    /: TLS failed: Hostname\/IP does not match certificate's altnames: .*db1\.example\.org$/,
  );
  assert.equal(await connect({ ...at, "ssl-mode": "VERIFY_CA" }), true);
  await secure.certify("localhost");
  assert.equal(await connect({ ...at, "ssl-mode": "VERIFY_IDENTITY" }), true);
});

type Env = NodeJS.ProcessEnv;

async function probe(flags: Flags, env: Env = { MYSQL_PWD: password }, timeoutSeconds = 10): Promise<Probe> {
  const user = flags.url || flags["defaults-file"] || flags.user ? {} : { user: "app" };
  const all = { ...user, ...flags, "get-server-public-key": true };
  return probeServer(resolve(all, env, join(directory, "home"))!, timeoutSeconds);
}

/** Connects as a worker does, with a copy of the probe's options. Returns true if the connection is encrypted. */
async function connect(flags: Flags, env?: Env): Promise<boolean> {
  const { getServerPublicKey: _, ...db } = (await probe(flags, env)).db as AccountOptions & mysql.ConnectionOptions;
  const connection = await mysql.createConnection(structuredClone(db));
  const [[row]] = await connection.query<mysql.RowDataPacket[]>("SHOW STATUS LIKE 'Ssl_cipher'");
  await connection.end();
  return row!.Value !== "";
}

async function assertFails(
  given: Flags & { env?: Env; timeoutSeconds?: number },
  message: string | RegExp,
): Promise<void> {
  const { env, timeoutSeconds, ...flags } = given;
  await assert.rejects(probe(flags, env, timeoutSeconds), (error: Error) => {
    if (typeof message === "string") assert.equal(error.message, message);
    else assert.match(error.message, message);
    assert.doesNotMatch(error.message, /\n/);
    assert.doesNotMatch(inspect(error, { depth: null, showHidden: true }), /s3cr3t/);
    return true;
  });
}

async function listen(behave: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    behave(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, port: (server.address() as AddressInfo).port };
}
