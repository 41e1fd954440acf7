/**
 * A server with accounts and passwords, on a socket and on a free port of the loopback addresses, with TLS if wanted.
 *
 * It is a sandbox with more options. MariaDB's sandbox starts without grant tables, so they are created while it runs.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import mysql from "mysql2/promise";
import { type Sandbox, startSandbox } from "../lib/features/sandbox/sandbox.ts";
import { target } from "./target.ts";

export interface TestServer {
  readonly port: number;
  readonly socketPath: string;
  /** A connection with all privileges. The database `myscript` exists and is empty. The test creates its own accounts. */
  readonly root: mysql.Connection;
  /** The certificate file of the CA that signs the server's certificates. */
  readonly ca: string;
  /** Creates a client certificate: `PATH.pem` and `PATH.key`. */
  certifyClient(path: string): Promise<void>;
  /** Replaces the server's certificate by one for this host name. */
  certify(hostName: string): Promise<void>;
  stop(): Promise<void>;
}

export interface TestServerOptions {
  /** Further options of the server. @default [] */
  args?: readonly string[];
  /** Offer TLS, with a certificate for `localhost`. @default false */
  tls?: boolean;
}

/** True if the server listens on `::1` too, which this machine must have. MySQL 5.7 listens on one address only. */
export const hasIPv6 =
  target.name !== "mysql-5.7" &&
  Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"));

const run = promisify(execFile);

/** Starts a server. The test must call `stop()`. */
export async function startServer({ args = [], tls = false }: TestServerOptions = {}): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), "myscript-tls-"));
  const file = (name: string) => join(directory, name);
  const certify = (hostName: string) => createCertificate(file("server"), hostName, file("ca"));
  let sandbox: Sandbox | undefined;
  let root: mysql.Connection | undefined;
  const stop = async () => {
    root?.destroy();
    await sandbox?.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    if (tls) {
      await createAuthority(file("ca"));
      await certify("localhost");
      const names = { ca: "ca.pem", cert: "server.pem", key: "server.key" };
      args = [...args, ...Object.entries(names).map(([option, name]) => `--ssl-${option}=${file(name)}`)];
    } else args = [...args, target.isMariaDB || target.version < 8 ? "--skip-ssl" : "--tls-version="]; // some servers create certificates by themselves
    const { port, ...started } = await startOnFreePort(args);
    sandbox = started.sandbox;
    const { socketPath } = sandbox.db;
    if (target.isMariaDB) await createAccounts(sandbox.db);
    const admin = await mysql.createConnection({ ...sandbox.db, multipleStatements: true });
    root = admin;
    const recertify = async (hostName: string) => {
      await certify(hostName);
      await admin.query(target.isMariaDB ? "FLUSH SSL" : "ALTER INSTANCE RELOAD TLS");
    };
    const certifyClient = (path: string) => createCertificate(path, "client", file("ca"));
    return { port, socketPath, root, ca: file("ca.pem"), certify: recertify, certifyClient, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Creates a CA: `PATH.pem` and `PATH.key`. */
export async function createAuthority(path: string): Promise<void> {
  await run("openssl", [...request(path, "authority"), "-addext", "keyUsage=critical,keyCertSign"]);
}

async function createCertificate(path: string, hostName: string, authority: string): Promise<void> {
  const signer = ["-CA", `${authority}.pem`, "-CAkey", `${authority}.key`];
  const names = ["-addext", `subjectAltName=DNS:${hostName}`, "-addext", "basicConstraints=critical,CA:FALSE"];
  await run("openssl", [...request(path, "server"), ...signer, ...names]);
}

function request(path: string, commonName: string): string[] {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", `${path}.key`];
  return ["req", "-x509", ...key, "-out", `${path}.pem`, "-days", "2", "-subj", `/CN=${commonName}`];
}

async function startOnFreePort(args: readonly string[]): Promise<{ sandbox: Sandbox; port: number }> {
  const addresses = hasIPv6 ? "127.0.0.1,::1" : "127.0.0.1";
  const network = ["--skip-networking=0", `--bind-address=${addresses}`, "--skip-name-resolve"];
  for (let tries = 1; ; tries++) {
    const port = await findFreePort();
    try {
      return { sandbox: await startSandbox({ args: [...network, `--port=${port}`, ...args], orders: 0 }), port };
    } catch (error) {
      // Another process took the port after findFreePort().
      if (tries === 5 || !/bind on tcp/i.test((error as Error).message)) throw error;
    }
  }
}

export async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Connects to a server that is starting: tries until it accepts the connection. */
export async function connectWhenUp(options: mysql.ConnectionOptions): Promise<mysql.Connection> {
  for (;;) {
    try {
      const connection = await mysql.createConnection(options);
      connection.on("error", () => {}); // the test may kill the server
      return connection;
    } catch {
      await sleep(20);
    }
  }
}

/** Creates MariaDB's system tables and the account `root`. MySQL has both already. */
async function createAccounts(db: Sandbox["db"]): Promise<void> {
  const setup = await mysql.createConnection({ ...db, multipleStatements: true });
  await setup.query(await readSystemTables(setup));
  await setup.query(
    "FLUSH PRIVILEGES; CREATE USER root@localhost; GRANT ALL ON *.* TO root@localhost WITH GRANT OPTION",
  );
  await setup.end();
}

/** Returns the SQL that `mariadb-install-db` runs. */
async function readSystemTables(connection: mysql.Connection): Promise<string> {
  const [[row]] = await connection.query<mysql.RowDataPacket[]>("SELECT @@character_sets_dir AS directory");
  const names = ["mysql_system_tables.sql", "mariadb_system_tables.sql"];
  const path = names.map((name) => join(row!.directory, "..", name)).find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error(`Cannot find ${names.join(" or ")} beside ${row!.directory}`);
  return `CREATE DATABASE mysql; USE mysql; ${await readFile(path, "utf8")}`;
}
