/** A sandbox for all tests of one file. It has no accounts and no TCP port: `server.ts` has. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type mysql from "mysql2/promise";
import { startSandbox } from "../lib/features/sandbox/sandbox.ts";
import { myglobals } from "../lib/myglobals.ts";
import { isGone, poll } from "./run.ts";
import { connectWhenUp } from "./server.ts";
import { target } from "./target.ts";

export interface Database {
  readonly db: { socketPath: string; user: string; database: string };
  /** Kills the server with SIGKILL. */
  kill(): void;
  /** Starts the server again on the same files. Shuts it down first if it runs. */
  restart(): Promise<void>;
  /** Runs SQL on the test's own connection and returns the rows. */
  sql<Row = Record<string, unknown>>(text: string): Promise<Row[]>;
}

/** Starts a sandbox, sets `myglobals.config.db` to it, and stops it after the tests of the file. */
export async function useDatabase(args: string[] = []): Promise<Database> {
  const sandbox = await startSandbox({ args, orders: 0 });
  const [program, ...commandLine] = readFileSync(`/proc/${sandbox.pid}/cmdline`, "utf8").split("\0").slice(0, -1);
  let connection = await open();
  /** The server's process after `restart()`. */
  let server: ChildProcess | undefined;
  after(async () => {
    connection.destroy();
    server?.kill("SIGKILL");
    await sandbox.stop();
  });
  myglobals.config = { db: sandbox.db };
  return {
    db: sandbox.db,
    kill() {
      if (server) server.kill("SIGKILL");
      else process.kill(sandbox.pid, "SIGKILL");
    },
    async restart() {
      // The connection is not destroyed. Otherwise a caller that awaits an answer on it would wait for ever.
      await connection.query("SHUTDOWN").catch(() => {});
      await poll(() => isGone(server?.pid ?? sandbox.pid)); // while it shuts down, it still accepts connections
      server = spawnServer();
      connection = await open();
    },
    sql: async (text) => (await connection.query(text))[0] as never,
  };

  /** Starts the server, and tries again if it exits, because another process may still hold its port. */
  function spawnServer(tries = 100): ChildProcess {
    const child = spawn(program!, commandLine, { stdio: "ignore" });
    child.once("exit", async (code) => {
      if (code === 0 || child.killed || tries === 0) return;
      await sleep(100);
      server = spawnServer(tries - 1);
    });
    return child;
  }

  function open(): Promise<mysql.Connection> {
    return connectWhenUp({ ...sandbox.db, multipleStatements: true });
  }
}

/** Returns a status variable of the server, such as `Com_do`. */
export async function status(database: Database, name: string): Promise<number> {
  const [row] = await database.sql<{ Value: string }>(`SHOW GLOBAL STATUS LIKE '${name}'`);
  return Number(row?.Value);
}

/** Returns the number of deadlocks since the server started. */
export async function deadlocks(sql: Database["sql"]): Promise<number> {
  const counting = target.isMariaDB
    ? "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'"
    : "SELECT count AS Value FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'";
  return Number((await sql<{ Value: string }>(counting))[0]?.Value);
}
