/** The sandbox that every contestant runs on, and the benchmark's queries to it. */
import mysql from "mysql2/promise";
import { startSandbox } from "../../lib/features/sandbox/sandbox.ts";
import { findFreePort } from "../server.ts";

export interface Server {
  readonly socketPath: string;
  /** Its port on 127.0.0.1. */
  readonly port: number;
  readonly pid: number;
  readonly version: string;
  /** Runs SQL and returns the rows. */
  sql<Row>(text: string): Promise<Row[]>;
  /** Returns a status variable of the server, such as `Com_select`. */
  status(name: string): Promise<number>;
  stop(): Promise<void>;
}

/** Starts the server with the sandbox's table `myscript_orders` of 200,000 rows. */
export async function startServer(): Promise<Server> {
  const port = await findFreePort();
  const network = ["--skip-networking=0", "--bind-address=127.0.0.1", `--port=${port}`];
  const limits = ["--innodb-buffer-pool-size=512M", "--max-connections=500"];
  const sandbox = await startSandbox({ args: [...network, ...limits] });
  const connection = await mysql.createConnection(sandbox.db);
  const [row] = await sql<{ version: string }>("SELECT VERSION() AS version");
  await sql("CREATE TABLE bench_ready (connection BIGINT, at DOUBLE)");
  return { socketPath: sandbox.db.socketPath, port, pid: sandbox.pid, version: row!.version, sql, status, stop };

  async function sql<Row>(text: string): Promise<Row[]> {
    return (await connection.query(text))[0] as Row[];
  }

  async function status(name: string): Promise<number> {
    const [row] = await sql<{ Value: string }>(`SHOW GLOBAL STATUS LIKE '${name}'`);
    return Number(row?.Value);
  }

  async function stop(): Promise<void> {
    connection.destroy();
    await sandbox.stop();
  }
}

/** Creates the table of five columns that work (d) reads. */
export async function createRows(server: Server, rows: number): Promise<void> {
  await server.sql("DROP TABLE IF EXISTS bench_rows");
  await server.sql(
    `CREATE TABLE bench_rows (
      id INT PRIMARY KEY, customer INT NOT NULL, name VARCHAR(40) NOT NULL, price DECIMAL(10, 2) NOT NULL, at DATETIME NOT NULL
    ) ENGINE = InnoDB`,
  );
  await server.sql(
    `INSERT INTO bench_rows SELECT seq, seq * 7919 % 100000, CONCAT('customer number ', seq), seq % 99999 / 100,
      '2010-01-01' + INTERVAL seq MINUTE FROM seq_1_to_${rows}`,
  );
}

/**
 * Returns the time at which the last worker began its first query, in seconds since the epoch. Clears the records.
 *
 * @returns undefined if fewer workers began a query.
 */
export async function takeReady(server: Server, workers: number): Promise<number | undefined> {
  const first = await server.sql<{ at: number }>(
    "SELECT MIN(at) AS at FROM bench_ready GROUP BY connection ORDER BY at",
  );
  await server.sql("TRUNCATE bench_ready");
  return first[workers - 1]?.at;
}

/** A query that records its start and sleeps for 1.5 s. Meanwhile every other worker gets a query. */
export const readyQuery = "INSERT INTO bench_ready SELECT CONNECTION_ID(), UNIX_TIMESTAMP(NOW(6)) + SLEEP(1.5)";
