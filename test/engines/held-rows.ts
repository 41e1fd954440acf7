/** A server with the rows of a batch. The test locks some of them, so that each worker waits half-way until `release()`. */
import mysql from "mysql2/promise";
import { poll } from "../run.ts";
import { startServer } from "../server.ts";

export const rowCount = 600;
/** The number of locked rows: four in each of three shards, because a shard has four workers. */
export const heldCount = 12;
export const password = "s3cr3t";

export interface HeldRows {
  /** Two addresses of the server, as for `-h`. They stand for two hosts. */
  readonly hosts: string;
  /** Creates the rows anew and locks `heldCount` of them. */
  fill(): Promise<void>;
  /** Locks `heldCount` rows from this id on. */
  hold(from: number): Promise<void>;
  /** Unlocks the rows. */
  release(): Promise<void>;
  /** Waits until this many queries wait for row locks. @default heldCount */
  waits(count?: number): Promise<void>;
  /** Kills the connection of `CALL bump(n)` after the procedure has updated its row and committed. */
  loseCall(): Promise<void>;
  /** Returns how often the rows were updated, as `[times, rows]`. */
  counts(): Promise<[number, number][]>;
  stop(): Promise<void>;
}

/** Starts the server. */
export async function startHeldRows(): Promise<HeldRows> {
  const server = await startServer();
  const ask = async (text: string, values?: unknown[]) =>
    (await server.root.query<mysql.RowDataPacket[]>(text, values))[0];
  await ask("CREATE USER app IDENTIFIED BY ?; GRANT ALL ON *.* TO app; CREATE DATABASE shop; USE shop", [password]);
  await ask(
    `CREATE PROCEDURE bump(n INT) BEGIN
       UPDATE parts SET v = v + 1 WHERE id = n;
       COMMIT;
       DO SLEEP(IF((SELECT v FROM parts WHERE id = n) = 1, 600, 0));
     END`,
  );
  const holder = await mysql.createConnection({ socketPath: server.socketPath, user: "root", database: "shop" });
  return {
    hosts: `127.0.0.1:${server.port},localhost:${server.port}`,
    fill,
    hold,
    release,
    waits,
    loseCall,
    counts,
    stop,
  };

  async function fill(): Promise<void> {
    await ask("DROP TABLE IF EXISTS parts, backfill_ledger");
    await ask(`CREATE TABLE parts (id INT PRIMARY KEY, v INT) SELECT seq AS id, 0 AS v FROM seq_1_to_${rowCount}`);
    await hold(rowCount / 2 + 1);
  }

  async function hold(from: number): Promise<void> {
    await holder.query("BEGIN");
    await holder.query("SELECT * FROM parts WHERE id BETWEEN ? AND ? FOR UPDATE", [from, from + heldCount - 1]);
  }

  async function release(): Promise<void> {
    await holder.query("COMMIT");
  }

  async function waits(count = heldCount): Promise<void> {
    const waiting = "SELECT COUNT(*) AS n FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
    await poll(async () => (await ask(waiting))[0]!.n >= count, 180);
  }

  async function loseCall(): Promise<void> {
    const sleeping = "SELECT id FROM information_schema.processlist WHERE state = 'User sleep'";
    await poll(async () => (await ask(sleeping)).length > 0);
    await ask(`KILL CONNECTION ${(await ask(sleeping))[0]!.id}`);
  }

  async function counts(): Promise<[number, number][]> {
    const found = await ask("SELECT v, COUNT(*) AS n FROM parts GROUP BY v ORDER BY v");
    return found.map(({ v, n }) => [v, n]);
  }

  async function stop(): Promise<void> {
    holder.destroy();
    await server.stop();
  }
}
