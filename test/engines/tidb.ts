/** TiDB on this machine, with its store in the same process: a server of MySQL's protocol that is no MySQL. */
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mysql from "mysql2/promise";
import { isGone, poll } from "../run.ts";
import { findFreePort } from "../server.ts";
import type { Sql } from "./counted-rows.ts";
import { enginesDirectory, go, goBuild, goModule } from "./go-build.ts";
import { end, keep } from "./kept.ts";

/** A commit of the branch release-8.5: TiDB's tags are no versions of a Go module. */
export const version = "v1.1.0-beta.0.20260903095844-ac41d7e3c8fc";
const module = "github.com/pingcap/tidb";
const folder = join(enginesDirectory, "tidb-8.5");
const program = join(folder, "bin", "tidb-server");

/** Builds what is not there yet. */
export async function buildTiDB(): Promise<void> {
  if (existsSync(program)) return;
  const source = join(folder, "source");
  goModule(source, "tidb");
  const { Dir } = JSON.parse(go(source, "mod", "download", "-json", `${module}@${version}`));
  const goMod = readFileSync(join(Dir, "go.mod"), "utf8");
  const replaced = goMod.matchAll(/^\t(\S+) => (\w\S+) (\S+)$/gm);
  go(source, "mod", "edit", ...[...replaced].map(([, from, to, at]) => `-replace=${from}=${to}@${at}`));
  const parser = `${module}/pkg/parser`; // a module of its own, which its go.mod names by a folder
  const [, parserVersion] = go(source, "list", "-m", `${parser}@${version.split("-").at(-1)}`)
    .trim()
    .split(" ");
  go(source, "mod", "edit", `-replace=${parser}=${parser}@${parserVersion}`);
  // The public list of checksums lacks some of them. No copy of the file itself, which nobody may write.
  writeFileSync(join(source, "go.sum"), readFileSync(join(Dir, "go.sum")));
  go(source, "get", `${module}@${version}`);
  // It refuses to run with another Go than its own, as it measures the inside of maps. This is for the tests, and runs.
  const linking = `-X runtime.buildVersion=go${/^go (\S+)$/m.exec(goMod)![1]}`;
  await goBuild(source, { [program]: `${module}/cmd/tidb-server` }, linking);
}

export interface TiDB {
  readonly db: { readonly socketPath: string; readonly user: string; readonly database: string };

  readonly sql: Sql;
  /**
   * Shuts it down, and starts it again on the same files. It is not killed: this store, unlike TiKV, keeps the locks of
   * transactions in memory, and after a power cut has only a part of what was being committed.
   */
  restart(): Promise<void>;
  /** Kills all connections but that of `sql()`. */
  killConnections(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it on a socket, and as it insists on a port, on a free one of 127.0.0.1, with its files in a private folder. */
export async function startTiDB(): Promise<TiDB> {
  const directory = mkdtempSync(join(tmpdir(), "myscript-tidb-"));
  const clear = () => rmSync(directory, { recursive: true, force: true });
  process.once("exit", clear);
  const db = { socketPath: join(directory, "socket"), user: "root", database: "test" };
  const port = await findFreePort();
  let server: ChildProcess;
  let connection: mysql.Connection;
  const stop = async () => {
    connection?.destroy();
    await end(server);
    clear();
  };
  await begin();
  return {
    db,
    sql: async (text) => (await connection.query(text))[0] as never,
    async restart() {
      connection.destroy();
      const pid = Number(readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, "utf8"));
      process.kill(pid, "SIGTERM");
      await poll(() => isGone(pid));
      await end(server);
      await begin();
    },
    async killConnections() {
      const [rows] = await connection.query(
        "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()",
      );
      for (const { id } of rows as { id: number }[]) await connection.query(`KILL ${id}`);
    },
    stop,
  };

  async function begin(): Promise<void> {
    const options = {
      P: port,
      host: "127.0.0.1",
      store: "unistore",
      path: join(directory, "store"),
      "temp-dir": join(directory, "temporary"),
      socket: db.socketPath,
      "report-status": false,
      "log-slow-query": join(directory, "slow"),
      L: "error",
    };
    const words = Object.entries(options).map(([name, value]) => `-${name}=${value}`);
    server = keep([program, ...words], join(directory, "log"));
    try {
      await poll(async () => (await connected()) !== undefined, 120);
    } catch (error) {
      throw new Error(readFileSync(join(directory, "log"), "utf8").slice(-2000), { cause: error });
    }
  }

  async function connected(): Promise<mysql.Connection | undefined> {
    try {
      connection = await mysql.createConnection({ ...db, multipleStatements: true });
      connection.on("error", () => {});
      return connection;
    } catch {
      return undefined;
    }
  }
}
