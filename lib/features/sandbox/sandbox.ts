/**
 * Starts a private throwaway server, for the unedited script, the tests and the benchmark.
 *
 * It listens only on a socket in a private directory. It ends, and its files are removed, when this process ends, even if it is killed.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { Connection } from "mysql2";
import { connect } from "../../mysql/connection.ts";
import { execute } from "../../mysql/execute.ts";
import { initializedDirectory } from "./initialized.ts";
import { type Kept, keep } from "./keeper.ts";

export interface Sandbox {
  /** Connection options for mysql2. */
  readonly db: { readonly socketPath: string; readonly user: string; readonly database: string };
  /** Process id of the server. */
  readonly pid: number;
  /** Ends the server and removes its files. */
  stop(): Promise<void>;
}

export interface SandboxOptions {
  /** Further options of the server. A later one overrides an earlier one. @default [] */
  args?: readonly string[];
  /** Rows of the table `myscript_orders`. 0 leaves the database empty. @default 200_000 */
  orders?: number;
  /** @default the result of `findProgram()` */
  program?: Program;
}

/** A server's program. */
export interface Program {
  readonly path: string;
  readonly isMariaDB: boolean;
}

/**
 * Finds a server program on the PATH, or else in a usual place. Prefers MariaDB, because MySQL starts more slowly.
 *
 * @throws Error if there is none.
 */
export async function findProgram(): Promise<Program> {
  for (const places of [(process.env.PATH ?? "").split(delimiter), usualPlaces]) {
    for (const name of ["mariadbd", "mysqld"]) {
      const path = places.map((place) => join(place, name)).find((candidate) => existsSync(candidate));
      if (path !== undefined) return { path, isMariaDB: name === "mariadbd" || (await isMariaDBs(path)) };
    }
  }
  throw new Error(
    'Cannot find "mariadbd" or "mysqld" for the sandbox: install one, with "npm run mariadb" (Debian, Ubuntu) or "brew install mariadb"',
  );
}

const usualPlaces = ["/usr/sbin", "/usr/local/sbin", "/usr/local/mysql/bin", "/opt/homebrew/bin"];

/** Returns true if `mysqld` is MariaDB, as in many of its packages. */
async function isMariaDBs(mysqld: string): Promise<boolean> {
  const { stdout } = await promisify(execFile)(mysqld, ["--no-defaults", "--version"]);
  return /-MariaDB/i.test(stdout);
}

/**
 * Starts a server on an empty directory and fills the table `myscript_orders`.
 *
 * @throws Error if there is no server program, or with its last messages if it does not start.
 */
export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const { args = [], orders = 200_000, program = await findProgram() } = options;
  const { path, isMariaDB } = program;
  try {
    const initialized = isMariaDB ? undefined : await initializedDirectory(path); // MariaDB starts on an empty directory
    const directory = await mkdtemp(join(tmpdir(), "myscript-")); // created with mode 0700
    const db = { socketPath: join(directory, "socket"), user: "root", database: "myscript" };
    const command = [path, ...optionsIn(directory), ...(isMariaDB ? mariadbOptions : mysqlOptions), ...args];
    const copying = initialized ? ["/bin/sh", "-c", copyScript, initialized, directory] : [];
    const kept = await keep(directory, [...copying, ...command]);
    try {
      await fill(db, orders, kept);
    } catch (error) {
      await kept.end();
      throw new Error(kept.lastWords || (error as Error).message, { cause: error });
    }
    kept.unref(); // neither the server nor its output keeps this process alive
    return { db, pid: await kept.pid, stop: async () => void (await kept.end()) };
  } catch (error) {
    throw new Error(`Cannot start ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Script that copies the directory `$0` to `$1`, and then runs the rest of `$@`, the server's command line. */
const copyScript = 'PATH=$PATH:/bin:/usr/bin; cp -R "$0/." "$1" && rm -f "$1/auto.cnf" && shift && exec "$@"';

function optionsIn(directory: string): string[] {
  return [
    "--no-defaults",
    `--datadir=${directory}`,
    `--tmpdir=${directory}`,
    `--socket=${join(directory, "socket")}`,
    `--pid-file=${join(directory, "pid")}`,
    "--skip-networking",
    "--max-connections=500",
    "--character-set-server=utf8mb4",
    "--innodb-flush-log-at-trx-commit=0",
    ...(process.getuid?.() === 0 ? ["--user=root"] : []),
  ];
}

const mariadbOptions = ["--skip-grant-tables"];
/** Options that give MySQL the defaults of MariaDB: no X Protocol port, no binary log, no `secure_file_priv` folder. */
const mysqlOptions = [
  "--loose-mysqlx=OFF",
  "--skip-log-bin",
  "--secure-file-priv=",
  "--performance-schema=OFF",
  "--innodb-doublewrite=OFF",
];

async function fill(db: Sandbox["db"], orders: number, kept: Kept): Promise<void> {
  const connection = await connectWhile(() => !kept.isGone, db.socketPath);
  try {
    await execute(connection, "CREATE DATABASE myscript");
    await execute(connection, "USE myscript");
    if (orders > 0) await createOrders(connection, orders);
  } finally {
    connection.destroy();
  }
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
  // Built from digits, because MySQL has no sequence engine, and 5.7 no CTE.
  const places = Array.from({ length: String(rows - 1).length }, (_, place) => place);
  const seq = `1 + ${places.map((place) => `d${place}.n * ${10 ** place}`).join(" + ")}`;
  const digits = `SELECT 0 AS n${[1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => ` UNION ALL SELECT ${n}`).join("")}`;
  await execute(
    connection,
    `INSERT INTO myscript_orders SELECT seq, 1 + seq % 9, 1 + seq % 4999 / 100, NULL FROM (
      SELECT ${seq} AS seq FROM ${places.map((place) => `(${digits}) AS d${place}`).join(" JOIN ")}
    ) AS numbers WHERE seq <= ${rows}`,
  );
}
