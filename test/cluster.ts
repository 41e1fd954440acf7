/** A Galera cluster of three nodes on free ports of 127.0.0.1. A test can kill and restart each node. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import mysql from "mysql2/promise";
import { findFreePort } from "./server.ts";

export interface ClusterNode {
  readonly host: string;
  readonly port: number;
  /** Kills the node with SIGKILL. */
  kill(): Promise<void>;
  /** Starts the node again on the same files. Resolves when `wsrep_ready` is ON. */
  restart(): Promise<void>;
  /** Runs SQL as root on a new connection. */
  sql<Row = Record<string, unknown>>(text: string): Promise<Row[]>;
}

export interface Cluster {
  readonly nodes: readonly [ClusterNode, ClusterNode, ClusterNode];
  stop(): Promise<void>;
}

const run = promisify(execFile);
/** Kills the server when its stdin ends, which also happens when this process ends. Its fd 3 closes when the server ends. */
const keeperScript = '"$@" </dev/null & exec 3>&-; read -r _; kill -9 $!; wait';
const host = "127.0.0.1";
const libraries = [
  "/usr/lib/galera/libgalera_smm.so",
  "/usr/lib/libgalera_smm.so",
  "/usr/lib64/galera-4/libgalera_smm.so",
];
const library = libraries.find((path) => existsSync(path));

/** Returns the reason why this machine cannot start a cluster, or undefined. */
export async function whyNoCluster(): Promise<string | undefined> {
  if (library === undefined) return "there is no libgalera_smm.so: install galera-4";
  for (const [program, name] of [
    ["rsync", "rsync"],
    ["mariadbd", "mariadb-server"],
    ["wsrep_sst_rsync", "mariadb-server"],
    ["mariadb-install-db", "mariadb-server"],
  ]) {
    const found = await run("sh", ["-c", `command -v ${program}`]).catch(() => undefined);
    if (!found) return `there is no ${program}: install ${name}`;
  }
  return undefined;
}

/** Starts three nodes, in about ten seconds. The user `root` has no password. */
export async function startCluster(): Promise<Cluster> {
  const directory = mkdtempSync(join(tmpdir(), "myscript-galera-"));
  // wsrep_sst_rsync refuses to run as root.
  const asMysql = process.getuid?.() === 0 ? ["--user=mysql"] : [];
  const names = ["n1", "n2", "n3"] as const;
  for (const name of names) mkdirSync(join(directory, name));
  const datadir = join(directory, "n1"); // the other nodes copy it by SST
  const install = [
    "--no-defaults",
    `--datadir=${datadir}`,
    "--auth-root-authentication-method=normal",
    "--skip-test-db",
  ];
  if (asMysql.length > 0) await run("chown", ["-R", "mysql", directory]);
  await run("mariadb-install-db", [...install, ...asMysql]);
  const ports: Record<string, number> = {};
  for (const name of names) for (const use of ["sql", "group", "ist", "sst"]) ports[name + use] = await findFreePort();
  const address = `gcomm://${names.map((name) => `${host}:${ports[`${name}group`]}`).join()}`;
  const processes = new Map<string, ChildProcess>();
  const stop = async () => {
    await Promise.all(names.map(kill));
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await start("n1", ["--wsrep-new-cluster"]);
    await Promise.all([start("n2"), start("n3")]);
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodes: [nodeOf("n1"), nodeOf("n2"), nodeOf("n3")], stop };

  function nodeOf(name: string): ClusterNode {
    return {
      host,
      port: ports[`${name}sql`]!,
      kill: () => kill(name),
      restart: () => start(name),
      sql: (text) => query(name, text),
    };
  }

  async function start(name: string, more: string[] = []): Promise<void> {
    const [sql, group, ist, sst] = ["sql", "group", "ist", "sst"].map((use) => ports[name + use]);
    const own = join(directory, name);
    const log = join(own, "log");
    const groupAddress = `${host}:${group}`;
    const provider = {
      base_host: host,
      base_port: group,
      "gmcast.listen_addr": `tcp://${groupAddress}`,
      "ist.recv_addr": `${host}:${ist}`,
      "gcache.size": "16M",
    };
    const settings = {
      datadir: own,
      socket: join(own, "socket"),
      "pid-file": join(own, "pid"),
      "log-error": log,
      "bind-address": host,
      port: sql,
      "max-connections": 100,
      "binlog-format": "ROW",
      "innodb-autoinc-lock-mode": 2,
      "innodb-flush-log-at-trx-commit": 0, // a killed node gets lost transactions from the others
      "wsrep-on": "ON",
      "wsrep-provider": library,
      "wsrep-provider-options": Object.entries(provider)
        .map((option) => option.join("="))
        .join(";"),
      "wsrep-cluster-name": "test",
      "wsrep-cluster-address": address,
      "wsrep-node-name": name,
      "wsrep-node-address": groupAddress,
      "wsrep-sst-method": "rsync",
      "wsrep-sst-receive-address": `${host}:${sst}`,
    };
    const options = Object.entries(settings).map(([option, value]) => `--${option}=${value}`);
    const command = ["mariadbd", "--no-defaults", ...asMysql, ...options, ...more];
    const child = spawn("/bin/sh", ["-c", keeperScript, "sh", ...command], {
      stdio: ["pipe", "ignore", "ignore", "pipe"],
      detached: true, // Ctrl-C must not reach the server
    });
    processes.set(name, child);
    let over = false;
    (child.stdio[3] as Readable).resume().once("close", () => {
      over = true;
    });
    for (let tries = 0; ; tries++) {
      const [row] = await query<{ Value: string }>(name, "SHOW STATUS LIKE 'wsrep_ready'").catch(() => []);
      if (row?.Value === "ON") return;
      if (over || tries > 1200) {
        throw new Error(
          `Node ${name} ${over ? "has ended" : "is never ready"}: ${readFileSync(log, "utf8").slice(-2000)}`,
        );
      }
      await sleep(100);
    }
  }

  async function kill(name: string): Promise<void> {
    const child = processes.get(name);
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.stdin!.end();
    await ended;
  }

  async function query<Row>(name: string, text: string): Promise<Row[]> {
    const options = { host, port: ports[`${name}sql`]!, user: "root", multipleStatements: true };
    const connection = await mysql.createConnection(options);
    try {
      return (await connection.query(text))[0] as never;
    } finally {
      connection.destroy();
    }
  }
}
