/** A source and its replica: two servers with replication over TCP. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import type mysql from "mysql2/promise";
import type { RowDataPacket } from "mysql2/promise";
import { isGone, poll } from "./run.ts";
import { connectWhenUp, startServer, type TestServer } from "./server.ts";

export interface Pair {
  readonly source: TestServer;
  readonly replica: TestServer;
  readonly isMariaDB: boolean;
  /** Runs SQL on the replica. The word `REPLICA` becomes `SLAVE` on a server that needs it. */
  onReplica(text: string): Promise<RowDataPacket[]>;
  /** Adds a second channel with the same source to the replica. The channel is not started. */
  addChannel(name: string): Promise<void>;
  /** Kills the replica with SIGKILL. */
  kill(): void;
  /** Starts the killed replica again on the same files. Replication continues. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts both servers. The account `root` may connect to each over TCP. */
export async function startPair(): Promise<Pair> {
  const [source, replica] = await Promise.all([
    startServer({ args: ["--log-bin", "--server-id=1", "--binlog-format=ROW"] }),
    startServer({ args: ["--server-id=2", "--innodb-flush-log-at-trx-commit=1", ...killable] }),
  ]);
  const { isMariaDB, isOld } = await flavourOf(source.root);
  for (const { root } of [source, replica]) {
    await root.query("CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY ''");
    await root.query("GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION");
  }
  const name = isMariaDB || isOld ? "MASTER" : "SOURCE";
  const change = isMariaDB || isOld ? "CHANGE MASTER" : "CHANGE REPLICATION SOURCE";
  const settings = async (host = "127.0.0.1") => {
    const [[position]] = await source.root.query<RowDataPacket[]>(
      isMariaDB || isOld ? "SHOW MASTER STATUS" : "SHOW BINARY LOG STATUS",
    );
    return [
      `${name}_HOST='${host}', ${name}_PORT=${source.port}, ${name}_USER='root', ${name}_PASSWORD=''`,
      // MariaDB keeps its position in a table only as a GTID.
      isMariaDB
        ? "MASTER_USE_GTID=slave_pos"
        : `${name}_LOG_FILE='${position!.File}', ${name}_LOG_POS=${position!.Position}`,
      `${name}_CONNECT_RETRY=1`,
      `${name}_SSL=0`, // newer servers use TLS by default
      ...(isMariaDB || isOld ? [] : ["GET_SOURCE_PUBLIC_KEY=1"]),
    ].join(", ");
  };
  let root = replica.root;
  const onReplica = async (text: string) => {
    const [rows] = await root.query<RowDataPacket[]>(text.replace("REPLICA", isMariaDB || isOld ? "SLAVE" : "REPLICA"));
    return rows;
  };
  if (isMariaDB) {
    const [[gtid]] = await source.root.query<RowDataPacket[]>("SELECT @@gtid_binlog_pos AS position");
    await root.query("SET GLOBAL gtid_slave_pos = ?", [gtid!.position]);
  }
  await root.query(`${change} TO ${await settings()}`);
  await onReplica("START REPLICA");

  // A new MariaDB cannot recover if it is killed before its first checkpoint.
  await root.query("SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0, GLOBAL innodb_max_dirty_pages_pct = 0");
  const [[row]] = await root.query<RowDataPacket[]>("SELECT @@pid_file AS path");
  let pid = Number(readFileSync(row!.path, "utf8"));
  const commandLine = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
  const withGrants = commandLine.filter((option) => option !== "--skip-grant-tables");
  let again: ChildProcess | undefined;
  root.on("error", () => {});
  return {
    source,
    replica,
    isMariaDB,
    onReplica,
    async addChannel(channel) {
      const [before, after] = isMariaDB ? [`'${channel}' `, ""] : ["", ` FOR CHANNEL '${channel}'`];
      // MariaDB refuses a second channel to the same address.
      await root.query(`${change} ${before}TO ${await settings("127.1")}${after}`);
    },
    kill: () => process.kill(pid, "SIGKILL"),
    async restart() {
      await poll(() => isGone(pid));
      rmSync(`${replica.socketPath}.lock`, { force: true }); // otherwise MySQL takes the zombie of the old process for a running server
      again = spawn(withGrants[0]!, withGrants.slice(1), { stdio: "ignore" });
      pid = again.pid!;
      root = await connectWhenUp({ socketPath: replica.socketPath, user: "root" });
    },
    async stop() {
      root.destroy();
      again?.kill("SIGKILL");
      await Promise.all([source.stop(), replica.stop()]);
    },
  };
}

/** Options with which a replica knows its position after a kill. MySQL 5.7 must keep it in tables, as for several channels. */
const killable = [
  "--relay-log-recovery=1",
  "--loose-relay-log-info-repository=TABLE",
  "--loose-master-info-repository=TABLE",
];

async function flavourOf(root: mysql.Connection): Promise<{ isMariaDB: boolean; isOld: boolean }> {
  const [[row]] = await root.query<RowDataPacket[]>("SELECT VERSION() AS version");
  return { isMariaDB: /MariaDB/.test(row!.version), isOld: /^[1-7]\./.test(row!.version) };
}
