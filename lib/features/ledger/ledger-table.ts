/** The ledger's table, before a run: creating it, and refusing one that cannot be one. */
import type { ConnectionOptions } from "mysql2";
import { ask, connect, type Host, sever } from "../../mysql/connection.ts";
import { type DatabaseError, isReadOnly, isTransient } from "../../mysql/errors.ts";
import { quoted, splitName } from "../../mysql/literal.ts";
import { reach, untilAborted } from "../../mysql/reach.ts";

export interface LedgerOptions {
  /** Where to connect to; empty when `db` alone says it. */
  readonly hosts: readonly Host[];
  readonly connectTimeoutMs: number;
  /** Whether several queries go together: then the row of one that has failed is deleted. */
  readonly deletes: boolean;
  /** Ends the waiting for a server or a lock. */
  readonly signal: AbortSignal | undefined;
  /** Is told once that a server or a writable one is waited for. */
  readonly onWait: (error: DatabaseError) => void;
  /** Tells what a person should know. */
  readonly log: (line: string) => void;
}

/**
 * Creates the ledger's table where it is missing, at the first of the hosts that answers.
 *
 * @param name `table` or `database.table`; a name that has a dot or a backtick in it is quoted as in SQL.
 * @returns its name as SQL, with its database.
 * @throws Error when it cannot be used, with the reason.
 */
export async function openLedger(name: string, db: ConnectionOptions, options: LedgerOptions): Promise<string> {
  const { hosts, connectTimeoutMs, signal, onWait } = options;
  let next = 0;
  const attempt = async (connectTimeout: number) => {
    const connection = await connect({ connectTimeout, ...db, ...hosts[next++ % hosts.length] }, signal);
    const run = (text: string) => ask(connection, text, connectTimeoutMs);
    const interrupt = () => sever(connection, new Error("interrupted"));
    signal?.addEventListener("abort", interrupt);
    try {
      if (signal?.aborted) throw new Error("interrupted");
      const warning = await warningOf(run);
      const table = await prepare(name, run, options);
      if (warning) options.log(warning);
      return table;
    } finally {
      signal?.removeEventListener("abort", interrupt);
      connection.destroy();
    }
  };
  try {
    return await reach(attempt, {
      hosts: Math.max(1, hosts.length),
      timeoutMs: connectTimeoutMs,
      mayPass: (error) => isTransient(error) || isReadOnly(error),
      ...untilAborted(signal),
      onWait,
    });
  } catch (error) {
    throw new Error(`Cannot use the ledger ${JSON.stringify(name)}: ${(error as Error).message}`, { cause: error });
  }
}

/** Runs a statement, within the connect timeout. */
type Run = (text: string) => Promise<(string | null)[][]>;

const columns = "seq bigint PRI, hash char, done_at timestamp";

async function prepare(name: string, run: Run, { log, deletes }: LedgerOptions): Promise<string> {
  const given = splitName(name);
  if (!given) throw new Error("it must be TABLE or DATABASE.TABLE");
  const database = given.database ?? (await run("SELECT DATABASE()"))[0]?.[0];
  if (!database) throw new Error("name its database, too: DATABASE.TABLE");
  const table = `${quoted(database)}.${quoted(given.table)}`;
  const from = (view: string) =>
    `FROM information_schema.${view} t WHERE t.table_schema = ${literal(database)} AND t.table_name = ${literal(given.table)}`;
  const looks = async () => {
    const [row] = await run(
      `SELECT GROUP_CONCAT(CONCAT_WS(' ', column_name, data_type, NULLIF(column_key, '')) ORDER BY ordinal_position SEPARATOR ', ')
      ${from("columns")} HAVING COUNT(*) > 0`,
    );
    return row?.[0];
  };
  // Not IF NOT EXISTS alone: whoever may not create tables may use one that is there.
  const found = await looks();
  if (found === undefined) {
    await run(
      `CREATE TABLE IF NOT EXISTS ${table} (
        seq BIGINT UNSIGNED NOT NULL PRIMARY KEY,
        hash CHAR(16) CHARACTER SET ascii NOT NULL,
        done_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
      ) ENGINE = InnoDB`,
    );
    log(`the ledger ${table} is new`);
  }
  const actual = found ?? (await looks());
  if (actual !== columns) throw new Error(`it has the columns "${actual}" instead of "${columns}"`);
  const [engine] = await run(
    `SELECT IF((SELECT transactions FROM information_schema.engines e WHERE e.engine = t.engine) = 'YES', '', t.engine)
    ${from("tables")}`,
  );
  if (engine?.[0] !== "") throw new Error(`it must have transactions: it is ${engine?.[0]}`);
  // Whether each query may do what it needs to.
  await run(`INSERT INTO ${table} (seq, hash) SELECT 0, '' FROM DUAL WHERE FALSE`);
  await run(`SELECT hash FROM ${table} WHERE seq = 0 LOCK IN SHARE MODE`);
  if (deletes) await run(`DELETE FROM ${table} WHERE seq = 0`);
  return table;
}

/** Names the tables that a rollback does not reach. */
async function warningOf(run: Run): Promise<string | undefined> {
  const rows = await run(
    `SELECT t.table_name, t.engine FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine
    WHERE t.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' AND e.transactions <> 'YES' ORDER BY 1`,
  );
  const names = rows.map(([table, engine]) => `${table} (${engine})`);
  if (names.length === 0) return undefined;
  const shown = names.slice(0, 10).join(", ") + (names.length > 10 ? ` and ${names.length - 10} more` : "");
  return `warning: without transactions, what is done to them may be done twice: ${shown}`;
}

/** A string as SQL, whatever the server's `sql_mode` makes of a backslash. */
function literal(text: string): string {
  return `CONVERT(X'${Buffer.from(text).toString("hex")}' USING utf8)`;
}
