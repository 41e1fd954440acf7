/** Vitess on this machine: vtgate, and the tablets of four shards, in one process, on one MySQL 9.7. */
import { type ChildProcess, execFile } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import mysql from "mysql2/promise";
import { poll } from "../run.ts";
import { findFreePort } from "../server.ts";
import { serversDirectory } from "../target.ts";
import type { Sql } from "./counted-rows.ts";
import { enginesDirectory, go, goBuild, goModule } from "./go-build.ts";
import { end, keep } from "./kept.ts";

/** Vitess 24. */
export const version = "v0.24.4";
const module = "vitess.io/vitess";
const folder = join(enginesDirectory, "vitess-24");
const program = join(folder, "bin", "vtcombo");
const mysqld = join(serversDirectory, "mysql-9.7", "bin", "mysqld");

/** Builds what is not there yet. */
export async function buildVitess(): Promise<void> {
  if (!existsSync(mysqld)) throw new Error(`There is no ${mysqld}: get it with "npm run servers"`);
  if (existsSync(program)) return;
  const source = join(folder, "source");
  goModule(source, "vitess");
  const { Dir } = JSON.parse(go(source, "mod", "download", "-json", `${module}@${version}`));
  writeFileSync(join(source, "go.sum"), readFileSync(join(Dir, "go.sum")));
  go(source, "get", `${module}@${version}`);
  await goBuild(source, { [program]: `${module}/go/cmd/vtcombo` });
}

/** The keyspaces, with the names of their shards. Both have a table `t` with the columns `id` and `v`. */
const keyspaces = { plain: ["0"], sharded: ["-40", "40-80", "80-"] };
const table = "CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL)";
const columns = [
  { name: "id", type: "INT32" },
  { name: "v", type: "INT32" },
];
const schemas: Record<keyof typeof keyspaces, object> = {
  plain: { tables: { t: { columns, column_list_authoritative: true } } },
  sharded: {
    sharded: true,
    vindexes: { hash: { type: "hash" } },
    tables: { t: { columns, column_list_authoritative: true, column_vindexes: [{ column: "id", name: "hash" }] } },
  },
};

export interface Vitess {
  /** The address of vtgate, with a keyspace. */
  db(keyspace: keyof typeof keyspaces): { host: string; port: number; user: string; database: string };
  /** In the keyspace `plain`. */
  readonly sql: Sql;
  /** Kills the sessions of the tablets on MySQL. vtgate does not know of that. */
  killSessions(): Promise<void>;
  /** Kills vtgate and the tablets, and starts them again. */
  restart(): Promise<void>;
  /** Kills MySQL and starts it again. vtgate stays. */
  restartMySQL(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it on free ports of 127.0.0.1, with its files in a private folder. */
export async function startVitess(): Promise<Vitess> {
  const directory = mkdtempSync(join(tmpdir(), "myscript-vitess-"));
  const clear = () => rmSync(directory, { recursive: true, force: true });
  process.once("exit", clear);
  chmodSync(directory, 0o755);
  const file = (name: string) => join(directory, name);
  const socketPath = file("socket");
  const [port, grpcPort, httpPort] = [await findFreePort(), await findFreePort(), await findFreePort()];
  const own = [
    mysqld,
    "--no-defaults",
    `--user=${userInfo().username}`,
    `--datadir=${file("data")}`,
    `--log-error=${file("mysql.log")}`,
  ];
  await promisify(execFile)(own[0]!, [...own.slice(1), "--initialize-insecure"]);
  let server: ChildProcess;
  let root!: mysql.Connection;
  await startMySQL();
  await root.query("CREATE USER vt_dba@localhost; GRANT ALL ON *.* TO vt_dba@localhost WITH GRANT OPTION");
  for (const [keyspace, shards] of Object.entries(keyspaces)) {
    mkdirSync(file(`schema/${keyspace}`), { recursive: true });
    writeFileSync(file(`schema/${keyspace}/vschema.json`), JSON.stringify(schemas[keyspace as keyof typeof keyspaces]));
    for (const shard of shards) {
      const name = `\`vt_${keyspace}_${shard}\``;
      await root.query(`CREATE DATABASE ${name}; USE ${name}; ${table}`);
    }
  }
  const db = (database: string) => ({ host: "127.0.0.1", port, user: "root", database });
  let vtcombo: ChildProcess;
  let connection: mysql.Connection;
  await begin();
  return {
    db,
    sql: async (text) => (await connection.query(text))[0] as never,
    async killSessions() {
      const sessions = "SELECT id FROM information_schema.processlist WHERE user = 'vt_dba' AND db LIKE 'vt\\_%'";
      const [rows] = await root.query<mysql.RowDataPacket[]>(sessions);
      for (const { id } of rows) await root.query(`KILL ${id}`).catch(() => {}); // it may be gone
    },
    async restart() {
      connection.destroy();
      await end(vtcombo);
      await begin();
    },
    async restartMySQL() {
      root.destroy();
      await end(server);
      await startMySQL();
    },
    async stop() {
      connection?.destroy();
      root.destroy();
      await end(vtcombo);
      await end(server);
      clear();
    },
  };

  async function startMySQL(): Promise<void> {
    const options = [`--socket=${socketPath}`, "--skip-networking", "--mysqlx=0", "--secure-file-priv=NULL"];
    const logs = ["--innodb-flush-log-at-trx-commit=2", "--gtid-mode=ON", "--enforce-gtid-consistency"];
    server = keep([...own, ...options, ...logs], file("log"));
    root = await whenUp({ socketPath, user: "root", multipleStatements: true }, "mysql");
  }

  async function begin(): Promise<void> {
    const options = {
      port: httpPort,
      "bind-address": "127.0.0.1",
      "grpc-port": grpcPort,
      "grpc-bind-address": "127.0.0.1",
      "db-socket": socketPath,
      "mycnf-socket-file": socketPath,
      "mycnf-server-id": 1,
      "db-charset": "utf8mb4",
      ...Object.fromEntries(roles.map((role) => [`db-${role}-user`, "vt_dba"])),
      "proto-topo": topology(),
      "schema-dir": file("schema"),
      "transaction-mode": "MULTI", // the default
      "tablet-hostname": "localhost",
      "mysql-auth-server-impl": "none",
      "mysql-server-port": port,
      "mysql-server-bind-address": "127.0.0.1",
      "mysql-server-version": "8.4.6-Vitess", // the default ends with that, too
      "allow-kill-statement": true,
    };
    const words = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
    // It refuses to run as root.
    const user = process.getuid?.() === 0 ? ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] : [];
    vtcombo = keep([...user, program, ...words], file("log"));
    connection = await whenUp({ ...db("plain"), multipleStatements: true }, "vtcombo");
    await poll(async () => (await connection.query("SELECT * FROM t").catch(() => undefined)) !== undefined, 60);
    await poll(
      async () => (await connection.query("SELECT * FROM sharded.t").catch(() => undefined)) !== undefined,
      60,
    );
  }

  async function whenUp(options: mysql.ConnectionOptions, name: string): Promise<mysql.Connection> {
    let connected: mysql.Connection | undefined;
    try {
      await poll(async () => {
        connected = await mysql.createConnection(options).catch(() => undefined);
        return connected !== undefined;
      }, 60);
    } catch (cause) {
      const words = ["log", "mysql.log"].map((log) => readFileSync(file(log), "utf8").slice(-2000));
      throw new Error(`${name} does not answer: ${words.join("\n")}`, { cause });
    }
    connected!.on("error", () => {}); // the test may kill the server
    return connected!;
  }
}

/** The accounts that Vitess has on MySQL. Here they are one. */
const roles = ["app", "dba", "allprivs", "appdebug", "filtered", "repl"];

/** Returns the keyspaces in the text format of Vitess's `vttest.proto`. */
function topology(): string {
  const all = Object.entries(keyspaces).map(([name, shards]) => {
    const parts = shards.map((shard) => `shards:{name:"${shard}"}`).join(" ");
    return `keyspaces:{name:"${name}" ${parts} replica_count:1}`;
  });
  return `${all.join(" ")} cells:"test"`;
}
