/** Checks and creates the ledger's table. */
import { setTimeout as sleep } from "node:timers/promises";
import { quoted, splitName } from "../../mysql/names.ts";
import { type IdColumn, locking, textAsSql } from "./row.ts";

/** Runs one of lib's own statements and returns its rows. */
export type Ask = (text: string) => Promise<(string | null)[][]>;

export interface LedgerTable {
  /** Its name with its database, quoted as SQL. */
  readonly name: string;
  /** Undefined if the table does not exist yet. */
  readonly column: IdColumn | undefined;
  /** Position of the last query in it. 0 if it has no rows, or identifies queries by keys. */
  readonly lastSeq: number;
}

export interface LedgerOptions {
  /** True for a dry run. It writes nothing. */
  readonly readsOnly: boolean;
  /** True if several queries share a transaction. The row of a query that fails in it is deleted. */
  readonly deletes: boolean;
  /** Shows a line to the user. */
  readonly log: (line: string) => void;
}

/** Columns of each kind of ledger, in the terms of `information_schema`. */
const columns: Record<IdColumn, string> = {
  seq: "seq bigint PRI, hash char, done_at timestamp",
  name: "name varchar PRI utf8mb4_bin, hash char, done_at timestamp",
};

/**
 * Checks the table of a ledger, if it exists.
 *
 * @param name `table` or `database.table`. A name with a dot or a backtick must be quoted as in SQL.
 * @throws Error with the reason if it cannot be used.
 */
export async function openLedger(name: string, ask: Ask, options: LedgerOptions): Promise<LedgerTable> {
  const given = splitName(name);
  if (!given) throw new Error("it must be TABLE or DATABASE.TABLE");
  const database = given.database ?? (await ask("SELECT DATABASE()"))[0]?.[0];
  if (!database) throw new Error("name its database, too: DATABASE.TABLE");
  if (await isSharded(database, ask))
    throw new Error(
      `${database} has several shards, and vtgate commits one after the other: it must be in an unsharded keyspace, with all that the queries change`,
    );
  const warning = await warningOf(ask);
  const table = `${quoted(database)}.${quoted(given.table)}`;
  const column = await columnBesideRanges(database, given.table, ask);
  if (column && !options.readsOnly) await checkRights(table, column, ask, options);
  if (warning) options.log(warning);
  const last = column === "seq" ? await ask(`SELECT MAX(seq) FROM ${table}`) : [];
  return { name: table, column, lastSeq: Number(last[0]?.[0] ?? 0) };
}

/**
 * Returns the column that identifies queries, undefined if the ledger does not exist yet. If there are ranges, waits for it: another
 * machine that has found the first range creates the ledger next.
 *
 * @throws Error if it does not appear: the ranges are those of an earlier ledger.
 */
async function columnBesideRanges(database: string, table: string, ask: Ask): Promise<IdColumn | undefined> {
  const ranges = rangesOf(table);
  const hasRanges = async () => {
    const [isThere] = await ask(`SELECT 1 ${tableIn("tables", database, ranges)}`);
    return (
      isThere !== undefined && (await ask(`SELECT 1 FROM ${quoted(database)}.${quoted(ranges)} LIMIT 1`)).length > 0
    );
  };
  for (const deadline = performance.now() + rangesMs; ; await sleep(50)) {
    const isBegun = await hasRanges(); // before the ledger is looked for
    const column = await columnOf(database, table, ask);
    if (column || !isBegun) return column;
    if (performance.now() > deadline)
      throw new Error(`it is new, but ${quoted(ranges)} has the ranges of an earlier one: drop that table, too`);
  }
}

/** Longest time in ms from the first range to the ledger. */
const rangesMs = 5000;

/** Creates the table of a ledger. @throws Error if it cannot be used, or if another machine has just created the other kind. */
export async function createLedger(table: string, column: IdColumn, ask: Ask, options: LedgerOptions): Promise<void> {
  const id = {
    seq: "BIGINT UNSIGNED",
    name: "VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
  }[column];
  await ask(
    `CREATE TABLE IF NOT EXISTS ${table} (
      ${column} ${id} NOT NULL PRIMARY KEY,
      hash CHAR(16) CHARACTER SET ascii NOT NULL,
      done_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
    ) ENGINE = InnoDB`,
  );
  options.log(`the ledger ${table} is new`);
  const { database, table: name } = splitName(table)!;
  const actual = await columnOf(database!, name, ask);
  if (actual !== column) throw new Error("another run has created it meanwhile, for queries of the other kind");
  await checkRights(table, column, ask, options);
}

/** Returns the column that identifies queries, undefined if the table does not exist. @throws Error if it is not a ledger. */
async function columnOf(database: string, name: string, ask: Ask): Promise<IdColumn | undefined> {
  const from = (view: string) => tableIn(view, database, name);
  const parts = "column_name, data_type, NULLIF(column_key, ''), IF(column_key = 'PRI', collation_name, NULL)";
  const [row] = await ask(
    `SELECT GROUP_CONCAT(CONCAT_WS(' ', ${parts}) ORDER BY ordinal_position SEPARATOR ', ')
    ${from("columns")} HAVING COUNT(*) > 0`,
  );
  if (!row) return undefined;
  const column = (["seq", "name"] as const).find((each) => columns[each] === row[0]);
  if (!column) throw new Error(`it has the columns "${row[0]}" instead of "${columns.seq}"`);
  const [engine] = await ask(
    `SELECT IF((SELECT transactions FROM information_schema.engines e WHERE e.engine = t.engine) = 'YES', '', t.engine)
    ${from("tables")}`,
  );
  if (engine?.[0] !== "") throw new Error(`its engine ${engine?.[0]} has no transactions`);
  return column;
}

/** Returns true for a keyspace of Vitess with several shards. The rows of the ledger would be on other shards than those of the queries. */
async function isSharded(keyspace: string, ask: Ask): Promise<boolean> {
  const [[version] = []] = await ask("SELECT @@version");
  if (!/-vitess\b/i.test(version ?? "")) return false;
  const shards = await ask("SHOW VITESS_SHARDS");
  return shards.filter(([shard]) => shard!.startsWith(`${keyspace}/`)).length > 1;
}

function tableIn(view: string, database: string, name: string): string {
  return `FROM information_schema.${view} t WHERE t.table_schema = ${textAsSql(database)} AND t.table_name = ${textAsSql(name)}`;
}

/** Returns the name of the table that keeps what `ranges()` has found, beside the ledger. */
export function rangesOf(table: string): string {
  return `${table}_ranges`;
}

/** Runs the statements that each query will need, without changing a row. @throws DatabaseError for a missing right. */
async function checkRights(table: string, column: IdColumn, ask: Ask, { deletes }: LedgerOptions): Promise<void> {
  const none = column === "seq" ? "0" : "''";
  await ask(`INSERT INTO ${table} (${column}, hash) SELECT ${none}, '' FROM DUAL WHERE FALSE`);
  await ask(locking(`SELECT hash FROM ${table} WHERE ${column} = ${none}`));
  if (deletes) await ask(`DELETE FROM ${table} WHERE ${column} = ${none}`);
}

/** Returns a warning with the tables of the database whose engine has no transactions. A rollback does not undo changes to them. */
async function warningOf(ask: Ask): Promise<string | undefined> {
  const rows = await ask(
    `SELECT t.table_name, t.engine FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine
    WHERE t.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' AND e.transactions <> 'YES' ORDER BY 1`,
  );
  const names = rows.map(([table, engine]) => `${table} (${engine})`);
  if (names.length === 0) return undefined;
  const shown = names.slice(0, 10).join(", ") + (names.length > 10 ? ` and ${names.length - 10} more` : "");
  return `warning: changes to tables without transactions may be made twice: ${shown}`;
}
