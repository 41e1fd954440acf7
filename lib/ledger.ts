/**
 * Exactly once: each query runs in one transaction with the insert of its row into the ledger, a table of the same server.
 *
 * The row's key is the query's seq. Whoever inserts it second waits until the first transaction has ended, and then either
 * finds that the query is done or has it for himself: so a query whose connection was lost is simply tried again, and several
 * machines may run the same batch. A query that may commit by itself cannot be undone: its row comes after it.
 *
 * Sent are, a line a round trip:
 *
 *     plain text        START TRANSACTION; INSERT; the query; COMMIT
 *
 *     values, rows,     START TRANSACTION; INSERT
 *     a longer text     the query
 *                       COMMIT
 *
 *     DDL, CALL and     SELECT; START TRANSACTION; SAVEPOINT
 *     all others        the query
 *                       RELEASE SAVEPOINT; INSERT; COMMIT      without the savepoint, the query has committed by itself
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection, ConnectionOptions } from "mysql2";
import { checkOneStatement, connect, execute, type ResultListener } from "./connection.ts";
import { hashOf } from "./hash.ts";
import { backoffMs, type DatabaseError, isLost, passes } from "./outcome.ts";
import type { Query } from "./queue.ts";
import { canShare, keepsTransaction, textOf, transactionControl } from "./statement.ts";

/** What is known of a try, should its connection be lost. */
export interface Trial {
  /** The row is inserted: it is locked until the transaction has ended. */
  inserted: boolean;
  /** Another session is running the query: it has inserted the row and not ended its transaction. */
  elsewhere: boolean;
  /** The query was sent, and may have committed by itself, without its row. */
  loose: boolean;
  /** The query has committed by itself. */
  selfCommitted: boolean;
}

export function newTrial(): Trial {
  return { inserted: false, elsewhere: false, loose: false, selfCommitted: false };
}

/** The ledger has another query under this seq. */
export class ChangedInput extends Error {
  readonly code = "CHANGED_INPUT";
}

const start = "START TRANSACTION";
const commit = "COMMIT";
const savepoint = "SAVEPOINT myscript_ledger";
const release = `RELEASE ${savepoint}`;

/** Connections whose last query was done before: the next one is probably, too, and asking for that costs the least. */
const skimming = new WeakSet<Connection>();

/**
 * Runs one query and inserts its row, both or neither; a query that the ledger has is not run.
 *
 * @param table its name as SQL.
 * @returns the number of rows that the query returned or changed, 0 when the ledger had it.
 * @throws ChangedInput when the ledger has another query under this seq.
 */
export async function executeOnce(
  connection: Connection,
  query: Query,
  table: string,
  seq: number,
  trial: Trial,
  listener: ResultListener = {},
): Promise<number> {
  const hash = hashOf(query);
  const insert = `INSERT INTO ${table} (seq, hash) VALUES (${seq}, '${hash}')`;
  const look = selectOf(table, seq);
  let answering: string | undefined; // what the server has not answered yet, of what is sent here
  let rows = 0;
  let ran = false;
  Object.assign(trial, newTrial());
  const control = transactionControl(query);
  if (control) throw new Error(`Cannot run ${control} with a ledger: each query is a transaction of its own`);
  // With rows to be passed on, the commit waits until all of them have come.
  const text = canShare(query) && !listener.onResult ? textOf(query) : undefined;
  const sql = typeof query === "string" ? query : query.sql;
  if (text === undefined && sql.includes(";")) await checkOneStatement(connection, sql);
  try {
    if (skimming.has(connection)) {
      answering = look;
      const known = await find(connection, look);
      if (known !== undefined) return doneBefore(known);
      skimming.delete(connection);
    }
    if (text !== undefined) await send(start, insert, text, commit);
    else if (keepsTransaction(query)) {
      await send(start, insert);
      await runAlone();
      await send(commit);
    } else {
      answering = look;
      const known = await find(connection, `${look};${start};${savepoint}`);
      if (known !== undefined) {
        await send("ROLLBACK");
        return doneBefore(known);
      }
      trial.loose = true;
      await runAlone();
      await record();
    }
    return rows;
  } catch (cause) {
    const error = cause as DatabaseError;
    if (cause instanceof ChangedInput) throw cause;
    if (isLost(error)) throw trial.loose ? undecided(error) : cause;
    const isWaiting = answering === insert || (answering === look && !trial.loose);
    trial.elsewhere = isWaiting && error.errno === 1205; // ER_LOCK_WAIT_TIMEOUT
    const asksLedger = answering === commit || (answering === insert && error.errno === 1062); // ER_DUP_ENTRY
    let known: string | undefined;
    try {
      if (asksLedger) known = await find(connection, `ROLLBACK;${look}`);
      else await execute(connection, "ROLLBACK");
    } catch (failure) {
      connection.destroy(); // the server rolls back what was open
      if (asksLedger) throw undecided(failure as DatabaseError);
    }
    if (known === hash && answering === commit) return rows;
    if (known !== undefined) return doneBefore(known);
    throw trial.loose && ran ? undecided(error, "It ran, but is not in the ledger: ") : cause;
  }

  /** Sends statements in one round trip; `answering` tells which of them failed. */
  async function send(...statements: readonly string[]): Promise<void> {
    let at = 0;
    answering = statements[at];
    await execute(connection, statements.join(";"), {
      onDone(_, count) {
        if (answering === insert) trial.inserted = true;
        else if (answering === release) trial.loose = false;
        else if (answering === text) rows = count;
        answering = statements[++at];
      },
    });
  }

  async function runAlone(): Promise<void> {
    rows = await execute(connection, query, listener);
    ran = true;
  }

  async function record(): Promise<void> {
    try {
      await send(release, insert, commit);
    } catch (error) {
      if (answering !== release || (error as DatabaseError).errno !== 1305) throw error; // "SAVEPOINT does not exist"
      trial.selfCommitted = true;
      await send(insert, commit);
    }
  }

  function doneBefore(known: string): number {
    if (known !== hash) throw new ChangedInput(`Cannot go on: query ${seq} is not the one in the ledger ${table}`);
    skimming.add(connection);
    return 0;
  }
}

/** Whether the ledger has a query, once the transaction that may be adding it has ended. */
export async function isRecorded(connection: Connection, query: Query, table: string, seq: number): Promise<boolean> {
  return (await find(connection, selectOf(table, seq))) === hashOf(query);
}

/** Waits for a transaction that is adding the row. */
function selectOf(table: string, seq: number): string {
  return `SELECT hash FROM ${table} WHERE seq = ${seq} LOCK IN SHARE MODE`;
}

/** The last value that a text's statements return. */
async function find(connection: Connection, text: string): Promise<string | undefined> {
  let found: string | undefined;
  const onRow = ([value]: unknown[]) => {
    found = String(value);
    return true;
  };
  await execute(connection, text, { onResult: () => onRow });
  return found;
}

/** An error after which nothing but the ledger, if anything, can tell what became of the query. */
function undecided({ message, code = "CONNECTION_LOST" }: DatabaseError, what = ""): Error {
  return Object.assign(new Error(what + message), { code, fatal: true });
}

export interface LedgerOptions {
  readonly connectTimeoutMs: number;
  /** Tells what a person should know. */
  readonly log: (line: string) => void;
}

/**
 * Creates the ledger's table where it is missing.
 *
 * @param name `table` or `database.table`; a name that has a dot or a backtick in it is quoted as in SQL.
 * @returns its name as SQL, with its database.
 * @throws Error when it cannot be used, with the reason.
 */
export async function openLedger(name: string, db: ConnectionOptions, options: LedgerOptions): Promise<string> {
  const deadline = performance.now() + options.connectTimeoutMs;
  for (let tries = 1; ; tries++) {
    try {
      const connection = await connect(db);
      try {
        const warning = await warningOf(connection);
        const table = await prepare(name, connection);
        if (warning) options.log(warning);
        return table;
      } finally {
        connection.destroy();
      }
    } catch (error) {
      const waitMs = backoffMs(tries);
      if (passes(error as DatabaseError) && performance.now() + waitMs < deadline) await sleep(waitMs);
      else
        throw new Error(`Cannot use the ledger ${JSON.stringify(name)}: ${(error as Error).message}`, { cause: error });
    }
  }
}

const columns = "seq bigint PRI, hash char, done_at timestamp";

async function prepare(name: string, connection: Connection): Promise<string> {
  const [, first, second] = /^(?:(`(?:[^`]|``)+`|[^`.]+)\.)?(`(?:[^`]|``)+`|[^`.]+)$/.exec(name) ?? [];
  if (second === undefined) throw new Error("it must be TABLE or DATABASE.TABLE");
  const database = first === undefined ? await find(connection, "SELECT DATABASE()") : unquoted(first);
  if (database === undefined || database === "null") throw new Error("name its database, too: DATABASE.TABLE");
  const table = `${quoted(database)}.${quoted(unquoted(second))}`;
  const from = (view: string) =>
    `FROM information_schema.${view} t WHERE t.table_schema = ${literal(database)} AND t.table_name = ${literal(unquoted(second))}`;
  const looks = () =>
    find(
      connection,
      `SELECT GROUP_CONCAT(CONCAT_WS(' ', column_name, data_type, NULLIF(column_key, '')) ORDER BY ordinal_position SEPARATOR ', ')
      ${from("columns")} HAVING COUNT(*) > 0`,
    );
  // Not IF NOT EXISTS alone: whoever may not create tables may use one that is there.
  const found = await looks();
  if (found === undefined) {
    await execute(
      connection,
      `CREATE TABLE IF NOT EXISTS ${table} (
        seq BIGINT UNSIGNED NOT NULL PRIMARY KEY,
        hash CHAR(16) CHARACTER SET ascii NOT NULL,
        done_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
      ) ENGINE = InnoDB`,
    );
  }
  const actual = found ?? (await looks());
  if (actual !== columns) throw new Error(`it has the columns "${actual}" instead of "${columns}"`);
  const engine = await find(
    connection,
    `SELECT IF((SELECT transactions FROM information_schema.engines e WHERE e.engine = t.engine) = 'YES', '', t.engine)
    ${from("tables")}`,
  );
  if (engine !== "") throw new Error(`it must have transactions: it is ${engine}`);
  return table;
}

/** Names the tables that a rollback does not reach. */
async function warningOf(connection: Connection): Promise<string | undefined> {
  const names: string[] = [];
  const onRow = ([table, engine]: unknown[]) => names.push(`${table} (${engine})`) > 0;
  await execute(
    connection,
    `SELECT t.table_name, t.engine FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine
    WHERE t.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' AND e.transactions <> 'YES' ORDER BY 1`,
    { onResult: () => onRow },
  );
  if (names.length === 0) return undefined;
  const shown = names.slice(0, 10).join(", ") + (names.length > 10 ? ` and ${names.length - 10} more` : "");
  return `warning: without transactions, what is done to them may be done twice: ${shown}`;
}

function unquoted(name: string): string {
  return name.startsWith("`") ? name.slice(1, -1).replaceAll("``", "`") : name;
}

function quoted(name: string): string {
  return `\`${name.replaceAll("`", "``")}\``;
}

/** A string as SQL, whatever the server's `sql_mode` makes of a backslash. */
function literal(text: string): string {
  return `CONVERT(X'${Buffer.from(text).toString("hex")}' USING utf8)`;
}
