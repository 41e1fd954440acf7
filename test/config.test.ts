import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { inspect } from "node:util";
import fc from "fast-check";
import { strayFlag } from "../lib/command/config.ts";
import { UsageError } from "../lib/command/errors.ts";
import { type Flags, resolve } from "./resolve.ts";
import { run, runtime } from "./run.ts";
import { createAuthority } from "./server.ts";
import { scaled } from "./soak.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript-config-"));
after(() => rmSync(directory, { recursive: true }));

const home = join(directory, "home"); // does not exist
const me = userInfo().username;
await createAuthority(join(directory, "ca"));
const ca = join(directory, "ca.pem");
const password = "s3cr3t";

const preferred = { rejectUnauthorized: false, verifyIdentity: false };

test("resolveServer() returns undefined if nothing names a server", () => {
  assert.equal(resolve({}, {}, home), undefined);
  const env = { MYSQL_HOST: "", MYSQL_UNIX_PORT: "", MYSQL_PWD: password, MYSQL_USER: "app", MYSQL_TCP_PORT: "1" };
  assert.equal(resolve({}, env, home), undefined);
  const own = writeHome("unnamed", `[client]\nhost=db1\npassword=${password}\n`);
  assert.equal(resolve({}, {}, own), undefined, "~/.my.cnf is not a way to name one");
});

test("strayFlag() names a flag that describes a server", () => {
  assert.equal(strayFlag({}), undefined);
  assert.equal(strayFlag({ user: "app", url: "mysql://db1" }), "--user");
  assert.equal(strayFlag({ compress: true }), "--compress");
});

test("resolveServer() accepts each way to name a server", () => {
  const file = write("way.cnf", "[client]\nhost=db5\n");
  const ways: [flags: Flags, env: NodeJS.ProcessEnv, place: string][] = [
    [{ url: "mysql://db1" }, {}, "db1:3306"],
    [{ host: "db2" }, {}, "db2:3306"],
    [{ socket: "/run/db.sock" }, {}, "/run/db.sock"],
    [{}, { MYSQL_HOST: "db3" }, "db3:3306"],
    [{}, { MYSQL_UNIX_PORT: "/run/env.sock" }, "/run/env.sock"],
    [{ "defaults-file": file }, {}, "db5:3306"],
    [{ "defaults-file": write("empty.cnf", "") }, {}, "localhost:3306"],
  ];
  for (const [flags, env, place] of ways) assert.equal(placeOf(resolve(flags, env, home)), place);
});

test("resolveServer() prefers the URL to flags, flags to the environment, and the environment to the option file", () => {
  const own = writeHome("full", `[client]\nhost=h4\nport=4\nuser=u4\npassword=p4\ndatabase=d4\nssl-mode=DISABLED\n`);
  const env = { MYSQL_HOST: "h3", MYSQL_TCP_PORT: "3", MYSQL_USER: "u3", MYSQL_PWD: "p3", MYSQL_DATABASE: "d3" };
  const flags = { host: "h2", port: "2", user: "u2", database: "d2" };
  assert.deepEqual(brief({ url: "mysql://u1@h1:1/d1", port: "2" }, env, own), ["u1", "p3", "h1:1", "d1"]);
  assert.deepEqual(brief({ url: "mysql://h1", port: "2", user: "u2", database: "d2" }, env, own), [
    "u2",
    "p3",
    "h1:2",
    "d2",
  ]);
  assert.deepEqual(brief(flags, env, own), ["u2", "p3", "h2:2", "d2"]);
  assert.deepEqual(brief({ host: "h2" }, env, own), ["u3", "p3", "h2:3", "d3"]);
  assert.deepEqual(brief({}, env, own), ["u3", "p3", "h3:3", "d3"]);
  assert.deepEqual(brief({ host: "h2" }, {}, own), ["u4", "p4", "h2:4", "d4"]);
  assert.deepEqual(brief({ host: "h2" }, {}, home), [me, undefined, "h2:3306", undefined]);
  const file = write("own.cnf", "[client]\nuser=u5\n");
  assert.deepEqual(brief({ "defaults-file": file, host: "h2" }, {}, own), ["u5", undefined, "h2:3306", undefined]);
});

test("resolveServer() never combines the socket of one source with the host of another", () => {
  const own = writeHome("socket", "[client]\nsocket=/run/file.sock\n");
  const env = { MYSQL_UNIX_PORT: "/run/env.sock" };
  assert.equal(placeOf(resolve({ host: "localhost" }, env, own)), "localhost:3306");
  assert.equal(placeOf(resolve({ url: "mysql://db1" }, env, own)), "db1:3306");
  assert.equal(placeOf(resolve({}, env, own)), "/run/env.sock");
  // As in the mysql client, a socket is used only for the host "localhost".
  assert.equal(placeOf(resolve({}, { ...env, MYSQL_HOST: "localhost" }, home)), "/run/env.sock");
  assert.equal(placeOf(resolve({}, { ...env, MYSQL_HOST: "db1" }, home)), "db1:3306");
  const file = write("both.cnf", "[client]\nhost=localhost\nsocket=/run/file.sock\n");
  assert.equal(placeOf(resolve({ "defaults-file": file }, {}, home)), "/run/file.sock");
});

test("resolveServer() reads lists of hosts and IPv6 addresses", () => {
  const list = (host: string, port?: string) =>
    resolve({ host, port }, {}, home)?.hosts.map((at) => [at.host, at.port]);
  assert.deepEqual(list("db1, db2:3307,[::1]:3308,::1", "5"), [
    ["db1", 5],
    ["db2", 3307],
    ["::1", 3308],
    ["::1", 5],
  ]);
  assert.deepEqual(list("[fe80::1]"), [["fe80::1", 3306]]);
  assert.equal(placeOf(resolve({ url: "mysql://u@[::1]:3307,db2/d" }, {}, home)), "::1:3307 db2:3306");
});

test("resolveServer() decodes the URL", () => {
  const url = "MariaDB://us%40r%3A%2F%3F%23%25+@db1/d%C3%A9?ssl-mode=required";
  assert.deepEqual(brief({ url }, {}, home), ["us@r:/?#%+", undefined, "db1:3306", "dé"]);
  assert.deepEqual(brief({ url: "mysql://app@db1/" }, {}, home), ["app", undefined, "db1:3306", undefined]);
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: "grapheme" }), (text) => {
      const part = encodeURIComponent(text);
      const [user, , , database] = brief({ url: `mysql://${part}@db1/${part}` }, {}, home);
      assert.deepEqual([user, database], [text, text]);
    }),
  );
});

test("resolveServer() works without a home directory and without an entry in /etc/passwd, as in a container", {
  skip: process.getuid?.() !== 0 && "needs root to become somebody else",
}, async () => {
  const file = write("home.cnf", "!include ~/nothing.cnf\n[client]\nhost=db2\n");
  chmodSync(directory, 0o755);
  const script = `
    import { resolve } from ${JSON.stringify(new URL("resolve.ts", import.meta.url).href)};
    delete process.env.HOME;
    process.setgid(54321);
    process.setuid(54321);
    const who = (flags, env) => { try { return resolve(flags, env).db.user; } catch ({ message }) { return message; } };
    console.log(JSON.stringify([
      who({ host: "db1", user: "app" }, {}), who({ "defaults-file": ${JSON.stringify(file)} }, { USER: "me" }), who({ host: "db1" }, {}),
    ]));`;
  const { stdout, stderr } = await run(["--input-type=module", "-e", script], { command: runtime });
  assert.equal(stderr, "");
  assert.deepEqual(JSON.parse(stdout), ["app", "me", "Cannot tell who runs this: name the user with --user"]);
});

test("resolveServer() returns plain data that can be cloned to a worker", () => {
  const { others, ...server } = resolve(
    { url: "mysql://app@db1/shop", "ssl-mode": "VERIFY_IDENTITY", "ssl-ca": ca },
    { MYSQL_PWD: password },
    home,
  )!;
  assert.deepEqual(structuredClone(server), server);
  const hosts = [{ host: "db2", port: 3307 }, { host: "db3" }];
  assert.deepEqual(others(hosts), { ...server, hosts: [hosts[0], { host: "db3", port: 3306 }] });
  assert.throws(() => others([{ host: "127.0.0.1" }]), /^Error: Cannot check an IP address with VERIFY_IDENTITY/);
});

test("resolveServer() converts each --ssl-mode to options of mysql2", () => {
  const tls = (flags: Flags) => {
    const server = resolve({ ...(flags.socket ? {} : { host: "db1" }), ...flags }, {}, home)!;
    const { ca: text, ...ssl } = (server.db.ssl ?? {}) as { ca?: string };
    if (text !== undefined) assert.match(text, /^-----BEGIN CERTIFICATE-----/);
    return [server.db.ssl && ssl, server.tlsOptional];
  };
  assert.deepEqual(tls({}), [preferred, true]);
  assert.deepEqual(tls({ "ssl-mode": "preferred" }), [preferred, true]);
  assert.deepEqual(tls({ "ssl-mode": "Disabled" }), [undefined, false]);
  assert.deepEqual(tls({ "ssl-mode": "REQUIRED" }), [preferred, false]);
  assert.deepEqual(tls({ "ssl-mode": "VERIFY_CA" }), [{ rejectUnauthorized: true, verifyIdentity: false }, false]);
  assert.deepEqual(tls({ "ssl-mode": "VERIFY_IDENTITY" }), [{ rejectUnauthorized: true, verifyIdentity: true }, false]);
  assert.deepEqual(tls({ "ssl-ca": ca }), [{ rejectUnauthorized: true, verifyIdentity: false }, false]);
  assert.deepEqual(tls({ socket: "/run/db.sock" }), [undefined, false]);
  assert.deepEqual(tls({ socket: "/run/db.sock", "ssl-mode": "REQUIRED" }), [preferred, false]);
});

test("resolveServer() understands the option names of MySQL's and MariaDB's option files", () => {
  const mode = (lines: string) => {
    const server = resolve({ "defaults-file": write("mode.cnf", `[client-mariadb]\n${lines}\n`) }, {}, home)!;
    const { rejectUnauthorized, verifyIdentity } = (server.db.ssl ?? {}) as { [name: string]: boolean };
    if (server.db.ssl === undefined) return "DISABLED";
    if (rejectUnauthorized) return verifyIdentity ? "VERIFY_IDENTITY" : "VERIFY_CA";
    return server.tlsOptional ? "PREFERRED" : "REQUIRED";
  };
  for (const lines of [
    "ssl=0",
    "ssl = OFF",
    "skip-ssl",
    "disable_ssl",
    "loose_skip_ssl",
    "ssl\nskip-ssl",
    "ssl_mode=disabled",
  ]) {
    assert.equal(mode(lines), "DISABLED", lines);
  }
  for (const lines of ["", "ssl-mode", "unknown=1", "skip-ssl-verify-server-cert"])
    assert.equal(mode(lines), "PREFERRED", lines);
  for (const lines of ["ssl", "ssl=1", "loose-ssl-mode=REQUIRED", "skip-ssl\nssl=on"])
    assert.equal(mode(lines), "REQUIRED", lines);
  for (const lines of [`ssl-ca=${ca}`, `ssl\nssl_ca="${ca}"`]) assert.equal(mode(lines), "VERIFY_CA", lines);
  for (const lines of ["ssl-verify-server-cert", `ssl\nssl-ca=${ca}\nssl_verify_server_cert=1`]) {
    assert.equal(mode(lines), "VERIFY_IDENTITY", lines);
  }
  const file = write("names.cnf", `[client]\nuser=a\nuser=b\npass_word=no\nloose-database="d"\n[mysql]\nuser=no\n`);
  assert.deepEqual(brief({ "defaults-file": file }, {}, home), ["b", undefined, "localhost:3306", "d"]);
});

test("resolveServer() reads from flags and option files how a password may be sent", () => {
  const allowed = (flags: Flags) => {
    const { db } = resolve(flags, {}, home)!;
    return [db.getServerPublicKey, db.enableCleartextPlugin];
  };
  const lines = "get_server_public_key\nenable-cleartext-plugin\nskip-enable-cleartext-plugin";
  assert.deepEqual(allowed({ host: "db1" }), [undefined, undefined]);
  assert.deepEqual(allowed({ host: "db1", "enable-cleartext-plugin": true }), [undefined, true]);
  assert.deepEqual(allowed({ "defaults-file": write("keys.cnf", `[client]\n${lines}\n`) }), [true, undefined]);
});

test("resolveServer() rejects contradicting options in one line", () => {
  const url = "mysql://app@db1/shop?ssl-mode=REQUIRED";
  assertUsage({ url, host: "db2" }, "--host contradicts --url: give one of them");
  assertUsage({ url, socket: "/run/db.sock" }, "--socket contradicts --url: give one of them");
  assertUsage({ url, user: "root" }, "--user contradicts --url: give one of them");
  assertUsage({ url, database: "shop" }, "--database contradicts --url: give one of them");
  assertUsage({ url, "ssl-mode": "DISABLED" }, "--ssl-mode contradicts --url: give one of them");
  assertUsage({ host: "localhost", socket: "/run/db.sock" }, "--socket contradicts --host: give one of them");
});

test("resolveServer() rejects invalid values in one line", () => {
  const hosts = 'must be one or more hosts with ports 1 to 65535, like "db1,db2:3307,[::1]:3308"';
  for (const host of [
    "a,,b",
    "db1:0",
    "db1:65536",
    "db1:x",
    "[db1]",
    "a b",
    "u@db1",
    "/db1",
    "[::1",
    "::1]:1",
    "db1:1:1",
  ]) {
    assertUsage({ host }, `--host ${hosts}`);
  }
  assertUsage({}, `MYSQL_HOST ${hosts}`, { MYSQL_HOST: "db1:" });
  const file = write("wrong.cnf", `[client]\npassword=${password}\nport=0x50\nssl-mode=on\n`);
  assertUsage({ "defaults-file": file }, `port in "${file}" must be 1 to 65535, not "0x50"`);
  for (const port of ["0", "65536", "-1", "3306x", "1e3", " 1"]) {
    assertUsage({ host: "db1", port }, `--port must be 1 to 65535, not "${port}"`);
  }
  assertUsage({ host: "db1", port: password }, /^--port must be 1 to 65535: a password goes into MYSQL_PWD/);
  assertUsage({ host: "db1" }, 'MYSQL_TCP_PORT must be 1 to 65535, not "tcp://1"', { MYSQL_TCP_PORT: "tcp://1" });
  const modes = "must be DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY";
  assertUsage({ host: "db1", "ssl-mode": "on" }, `--ssl-mode ${modes}, not "on"`);
  assertUsage({ "defaults-file": file, port: "1" }, `ssl-mode in "${file}" ${modes}, not "on"`);
  for (const name of ["url", "host", "socket", "user", "ssl-ca"])
    assertUsage({ [name]: "" }, `--${name} must not be empty`);
  const missing = join(directory, "missing");
  assertUsage({ host: "db1", "ssl-ca": missing }, `Cannot use --ssl-ca "${missing}": no such file or directory`);
  assertUsage({ host: "db1", "ssl-ca": file }, `Cannot use --ssl-ca "${file}": it holds no certificate in PEM format`);
  assertUsage({ "defaults-file": missing }, `Cannot use option file "${missing}": no such file or directory`);
  assertUsage(
    { host: "db1,127.0.0.1", "ssl-mode": "VERIFY_IDENTITY" },
    "Cannot check an IP address with VERIFY_IDENTITY: give the host's name, or use VERIFY_CA",
  );
});

test("resolveServer() rejects a URL that contains a password", () => {
  const message = "--url must not hold a password, which ps would show: put it into MYSQL_PWD or an option file";
  const file = write("url.cnf", `[client]\nport=${password}\n`);
  for (const url of [
    `mysql://app:${password}@db1`,
    `mariadb://:${password}@db1:1/shop`,
    `mysql://app:::${password}@[::1]`,
  ])
    for (const flags of [{ url }, { url, host: "db2" }, { url, "defaults-file": file }]) assertUsage(flags, message);
  assert.deepEqual(brief({ url: "mysql://app:@db1" }, {}, home), ["app", undefined, "db1:3306", undefined]);
});

test("resolveServer() rejects a URL that it cannot read, and quotes nothing of it", () => {
  const advice =
    /^Cannot read --url: it must be like mysql:\/\/user@host:3306\/database, without a password, and in a name "@" /;
  const urls = [
    password,
    `postgres://app:${password}@db1`,
    `mysql:app:${password}@db1`,
    "mysql://",
    "mysql:///shop",
    `mysql://app:${password}@`,
    `mysql://app:${password}/@db1/shop`,
    `mysql://app:${password}?@db1/shop`,
    `mysql://app:${password}#@db1/shop`,
    `mysql://app:%${password}@db1/shop`,
    `mysql://app:${password}@db1/shop/more`,
    `mysql://app:${password}@db1/shop#more`,
  ];
  for (const url of urls) assertUsage({ url }, advice);
  assertUsage({ url: `mysql://app:${password}/shop` }, /^host in --url must be one or more hosts/);
  const parameter = `Unknown parameter "password" in --url: it may be ssl-mode or ssl-ca`;
  assertUsage({ url: `mysql://db1?password=${password}` }, parameter);
});

test("resolveServer() returns a server or one clear line for any URL, and never prints the password", () => {
  const text = fc.string({ unit: fc.constantFrom(..."ab1:/?#@%,[]&=+ .\n") });
  fc.assert(
    fc.property(text, text, text, (before, after, rest) => {
      const url = `mysql://app:${before}${password}${after}@${rest}`;
      try {
        resolve({ url }, {}, home);
      } catch (error) {
        assertHarmless(error);
      }
    }),
    { numRuns: scaled(3000, 500) },
  );
});

function write(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

/** Creates a home directory with this `.my.cnf`. */
function writeHome(name: string, content: string): string {
  const path = mkdtempSync(join(directory, `${name}-`));
  writeFileSync(join(path, ".my.cnf"), content);
  return path;
}

function placeOf(server: ReturnType<typeof resolve>): string | undefined {
  return server?.db.socketPath ?? server?.hosts.map(({ host, port }) => `${host}:${port}`).join(" ");
}

function brief(...given: Parameters<typeof resolve>): (string | undefined)[] {
  const server = resolve(...given)!;
  return [server.db.user, server.db.password, placeOf(server), server.db.database];
}

function assertUsage(flags: Flags, message: string | RegExp, env: NodeJS.ProcessEnv = {}): void {
  assert.throws(
    () => resolve(flags, { MYSQL_PWD: password, ...env }, home),
    (error) => {
      assertHarmless(error);
      if (typeof message === "string") assert.equal(error.message, message);
      else assert.match(error.message, message);
      return true;
    },
  );
}

function assertHarmless(error: unknown): asserts error is UsageError {
  assert.ok(error instanceof UsageError, String(error));
  assert.doesNotMatch(error.message, /\n/);
  assert.doesNotMatch(inspect(error, { depth: null, showHidden: true }), new RegExp(password));
}
