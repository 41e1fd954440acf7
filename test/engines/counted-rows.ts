/** Rows that count how often they were updated, and queries that update them. The engines' scenarios share them. */
import { doWork, type Query, type WorkOptions } from "../../lib/mp.ts";
import { poll } from "../run.ts";

/** Runs SQL on a connection that no worker has, and returns the rows. */
export type Sql = <Row = Record<string, unknown>>(text: string) => Promise<Row[]>;

export const rowCount = 20;
export const createTable = "CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL)";
export const fillTable = `INSERT INTO t VALUES ${Array.from({ length: rowCount }, (_, id) => `(${id}, 0)`)}`;

/** Each row is updated ten times, by queries that conflict. */
export const updates = Array.from(
  { length: 10 * rowCount },
  (_, n) => `UPDATE t SET v = v + 1 WHERE id = ${n % rowCount}`,
);

const withValues = updates.map((_, n): Query => {
  return { sql: "UPDATE t SET v = v + ? WHERE id = ?", values: [1, n % rowCount] };
});

/** The updates in each way of sending. */
export const ways: readonly [name: string, queries: readonly Query[], options: WorkOptions][] = [
  ["text", updates, {}],
  ["batches", updates, { batch: 16 }],
  ["values", withValues, {}],
  ["values in batches", withValues, { batch: 16 }],
];

/** Returns how often the rows were updated, in total. */
export async function total(sql: Sql, table = "t"): Promise<number> {
  return Number((await sql<{ total: string }>(`SELECT SUM(v) AS total FROM ${table}`))[0]!.total);
}

/** Returns the number of rows in the ledger. */
export async function recorded(sql: Sql): Promise<number> {
  return Number((await sql<{ n: number }>("SELECT COUNT(*) AS n FROM ledger"))[0]!.n);
}

/** Runs 2000 updates. Does something meanwhile, three times. */
export async function disturbed(sql: Sql, options: WorkOptions, disturb: () => Promise<void>, table = "t") {
  const queries = Array.from({ length: 10 }, () => updates).flat();
  const running = doWork(queries, 4, options);
  for (const part of [400, 700, 1000]) {
    await poll(async () => (await total(sql, table).catch(() => 0)) >= part, 120);
    await disturb();
  }
  return await running;
}
