/** A sandbox for one test file, with a connection to look into it. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import mysql from "mysql2/promise";
import { startSandbox } from "../lib/features/sandbox/sandbox.ts";
import { myglobals } from "../lib/myglobals.ts";
import { isGone, poll } from "./run.ts";
import { target } from "./target.ts";

export interface Database {
  readonly db: { socketPath: string; user: string; database: string };
  /** Ends the server at once, as a power cut of its machine would. */
  kill(): void;
  /** Starts it again on the same files; a server that runs is shut down first. */
  restart(): Promise<void>;
  /** Runs SQL on a connection that no worker has and returns the rows. */
  sql<Row = Record<string, unknown>>(text: string): Promise<Row[]>;
}

/** Starts a sandbox, points `myglobals` at it, and ends it after the tests of the file. */
export async function useDatabase(args: string[] = []): Promise<Database> {
  const sandbox = await startSandbox({ args, orders: 0 });
  const [program, ...commandLine] = readFileSync(`/proc/${sandbox.pid}/cmdline`, "utf8").split("\0").slice(0, -1);
  let connection = await open();
  /** The one that was started again. */
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
      // Where it is up. The connection is not destroyed: whatever waits for an answer on it would wait for ever.
      await connection.query("SHUTDOWN").catch(() => {});
      await poll(() => isGone(server?.pid ?? sandbox.pid)); // one that shuts down still lets connections in
      server = spawnServer();
      connection = await open();
    },
    sql: async (text) => (await connection.query(text))[0] as never,
  };

  /** It fails as long as somebody else has taken its port. */
  function spawnServer(tries = 100): ChildProcess {
    const child = spawn(program!, commandLine, { stdio: "ignore" });
    child.once("exit", async (code) => {
      if (code === 0 || child.killed || tries === 0) return;
      await sleep(100);
      server = spawnServer(tries - 1);
    });
    return child;
  }

  async function open(): Promise<mysql.Connection> {
    for (;;) {
      try {
        const opened = await mysql.createConnection({ ...sandbox.db, multipleStatements: true });
        opened.on("error", () => {});
        return opened;
      } catch {
        await sleep(20);
      }
    }
  }
}

/** A server's counter, such as `Com_do`. */
export async function status(database: Database, name: string): Promise<number> {
  const [row] = await database.sql<{ Value: string }>(`SHOW GLOBAL STATUS LIKE '${name}'`);
  return Number(row?.Value);
}

/** How many deadlocks the server has resolved. */
export async function deadlocks(sql: Database["sql"]): Promise<number> {
  const counting = target.isMariaDB
    ? "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'"
    : "SELECT count AS Value FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'";
  return Number((await sql<{ Value: string }>(counting))[0]?.Value);
}
