/**
 * A private throwaway MariaDB: what the unedited script, the tests and the benchmark run on.
 *
 * It listens on a socket in a private directory only, and is gone, with its files, when this process ends, however it ends.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "mysql2";
import { connect } from "../mysql/connection.ts";
import { execute } from "../mysql/execute.ts";

export interface Sandbox {
  /** What mysql2 needs to connect to it. */
  readonly db: { readonly socketPath: string; readonly user: string; readonly database: string };
  /** Process id of the server. */
  readonly pid: number;
  /** Ends the server and removes its files. */
  stop(): Promise<void>;
}

export interface SandboxOptions {
  /** Further `mariadbd` options; a later one overrides an earlier one. @default [] */
  args?: readonly string[];
  /** Rows of the table `myscript_orders`; 0 leaves the database empty. @default 200_000 */
  orders?: number;
}

/**
 * Starts a MariaDB server on an empty directory and fills the table `myscript_orders`.
 *
 * @throws Error when there is no `mariadbd`, or with its last words when it does not start.
 */
export async function startSandbox({ args = [], orders = 200_000 }: SandboxOptions = {}): Promise<Sandbox> {
  const program = findMariadbd();
  const directory = await mkdtemp(join(tmpdir(), "myscript-")); // created with mode 0700
  const db = { socketPath: join(directory, "socket"), user: "root", database: "myscript" };
  // The shell outlives this process, reads the end of the pipe when it is gone, and cleans up. Its own session keeps
  // Ctrl-C on the terminal away from the server.
  const keeper = spawn("/bin/sh", ["-c", keeperScript, directory, program, ...serverOptions(directory), ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
  });
  const ended = new Promise<void>((resolve) => keeper.once("exit", () => resolve()));
  const stop = () => {
    keeper.ref();
    keeper.stdin.end();
    return ended;
  };
  let log = "";
  let alive = true;
  keeper.stderr.on("data", (chunk) => {
    log = (log + chunk).slice(-2000);
  });
  keeper.stderr.once("close", () => {
    alive = false;
  });
  const pid = new Promise<number>((resolve) => keeper.stdout.once("data", (line) => resolve(Number(line))));
  try {
    const connection = await connectWhile(() => alive, db.socketPath);
    try {
      await execute(connection, "CREATE DATABASE myscript");
      await execute(connection, "USE myscript");
      if (orders > 0) await createOrders(connection, orders);
    } finally {
      connection.destroy();
    }
  } catch (error) {
    await stop();
    throw new Error(`Cannot start ${program}: ${log.trim() || (error as Error).message}`, { cause: error });
  }
  // Neither the server nor its output keeps this process alive.
  keeper.unref();
  for (const stream of [keeper.stdin, keeper.stdout, keeper.stderr]) {
    (stream as unknown as { unref?(): void }).unref?.(); // Bun's have none, and keep nothing alive
  }
  return { db, pid: await pid, stop };
}

/** `$0` is the directory, `$@` the server's command line. */
const keeperScript = `
"$@" </dev/null &
echo $!
exec >&- 2>&-
read -r _
kill -9 $!
wait
rm -rf "$0"
`;

function findMariadbd(): string {
  const places = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"];
  const program = places.map((place) => join(place, "mariadbd")).find((path) => existsSync(path));
  if (program !== undefined) return program;
  throw new Error(
    'Cannot find "mariadbd" for the sandbox: install it with "npm run mariadb" (Debian, Ubuntu) or "brew install mariadb"',
  );
}

function serverOptions(directory: string): string[] {
  return [
    "--no-defaults",
    `--datadir=${directory}`,
    `--tmpdir=${directory}`,
    `--socket=${join(directory, "socket")}`,
    `--pid-file=${join(directory, "pid")}`,
    "--skip-grant-tables",
    "--skip-networking",
    "--max-connections=500",
    "--character-set-server=utf8mb4",
    "--innodb-flush-log-at-trx-commit=0",
    ...(process.getuid?.() === 0 ? ["--user=root"] : []),
  ];
}

async function connectWhile(alive: () => boolean, socketPath: string): Promise<Connection> {
  for (;;) {
    try {
      return await connect({ socketPath, user: "root" });
    } catch (error) {
      if (!alive()) throw error;
      await sleep(10);
    }
  }
}

async function createOrders(connection: Connection, rows: number): Promise<void> {
  await execute(
    connection,
    `CREATE TABLE myscript_orders (
      id INT PRIMARY KEY, quantity INT NOT NULL, price DECIMAL(10, 2) NOT NULL, total DECIMAL(12, 2) NULL
    ) ENGINE = InnoDB`,
  );
  await execute(
    connection,
    `INSERT INTO myscript_orders SELECT seq, 1 + seq % 9, 1 + seq % 4999 / 100, NULL FROM seq_1_to_${rows}`,
  );
}
