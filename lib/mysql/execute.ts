/** Running one query on a connection. */
import mysql, { type Connection, type FieldPacket } from "mysql2";
import type { Query } from "../shared/query.ts";

/** Hears of a query's results while they come; a text of several statements has several, counted from 0. */
export interface ResultListener {
  /** A result with columns begins. The function that it returns takes its rows, and returns false to make them wait. */
  readonly onResult?: (index: number, fields: FieldPacket[]) => (row: unknown[]) => boolean;
  /** A result is complete. */
  readonly onDone?: (index: number, rows: number) => void;
}

/**
 * Runs one query: SQL text as text, `{ sql, values }` as a prepared statement.
 *
 * It listens to mysql2's events, which cost less than its promises and keep no rows. With `onResult`, all is sent as text,
 * as values come as the server prints them only then.
 *
 * @returns the number of rows: returned by a SELECT, matched by an UPDATE, inserted, deleted.
 */
export function execute(connection: Connection, query: Query, listener: ResultListener = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    new Execution(connection, listener, resolve, reject).send(query);
  });
}

/** A query on its way. A class, as closures for each query cost more. */
class Execution {
  readonly #connection: Connection;
  readonly #listener: ResultListener;
  readonly #resolve: (rows: number) => void;
  readonly #reject: (error: Error) => void;
  readonly #lost: (error: Error) => void;
  #command: ReturnType<Connection["query"]> | undefined;
  #rows = 0; // of all results
  #before = 0; // of the results that are complete
  #complete = 0;
  #isRow = false;
  #sink: ((row: unknown[]) => boolean) | undefined;
  #failure: Error | undefined;

  constructor(
    connection: Connection,
    listener: ResultListener,
    resolve: (rows: number) => void,
    reject: (error: Error) => void,
  ) {
    this.#connection = connection;
    this.#listener = listener;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#lost = this.#fail.bind(this);
  }

  send(query: Query): void {
    this.#connection.on("error", this.#lost); // a lost connection is told to the connection, not to the query
    try {
      this.#command = send(this.#connection, query, this.#listener.onResult !== undefined);
    } catch (error) {
      this.#fail(error as Error); // mysql2 refuses values such as undefined by throwing
      return;
    }
    this.#command
      .on("fields", (fields: FieldPacket[] | undefined) => this.#begin(fields))
      .on("result", (result: unknown) => this.#take(result))
      .on("error", (error: Error) => {
        this.#failure = error;
        this.#completeTo(resultsOf(this.#command));
      })
      .on("end", () => this.#settle());
  }

  #begin(fields: FieldPacket[] | undefined): void {
    this.#completeTo(resultsOf(this.#command));
    this.#isRow = fields !== undefined;
    this.#sink = fields && this.#listener.onResult?.(this.#complete, fields);
  }

  #take(result: unknown): void {
    if (!this.#isRow) {
      const { affectedRows, serverStatus } = result as { affectedRows: number; serverStatus: number };
      this.#rows += affectedRows;
      if (serverStatus & inTransactionFlag) openTransactions.add(this.#connection);
      else openTransactions.delete(this.#connection);
    } else {
      this.#rows++;
      if (this.#sink?.(result as unknown[]) === false) this.#connection.pause();
    }
  }

  #completeTo(count: number): void {
    for (; this.#complete < count; this.#complete++) {
      this.#listener.onDone?.(this.#complete, this.#rows - this.#before);
      this.#before = this.#rows;
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#completeTo(resultsOf(this.#command));
    this.#settle();
  }

  #settle(): void {
    this.#connection.removeListener("error", this.#lost);
    if (this.#failure) this.#reject(this.#failure);
    else {
      this.#completeTo(this.#complete + 1);
      this.#resolve(this.#rows);
    }
  }
}

/** SERVER_STATUS_IN_TRANS */
const inTransactionFlag = 1;
const openTransactions = new WeakSet<Connection>();

/** Whether the last statement without rows has left a transaction open. */
export function isInTransaction(connection: Connection): boolean {
  return openTransactions.has(connection);
}

/** Runs a text of one or more statements, and returns the last value of the last row that any of them returned. */
export async function lastValue(connection: Connection, text: string): Promise<string | undefined> {
  let last: string | undefined;
  const onRow = (row: unknown[]) => {
    last = String(row.at(-1));
    return true;
  };
  await execute(connection, text, { onResult: () => onRow });
  return last;
}

/** How many results of a command have come to their end. mysql2 tells it nowhere else. */
function resultsOf(command: unknown): number {
  return (command as { _resultIndex?: number } | undefined)?._resultIndex ?? 0;
}

function send(connection: Connection, query: Query, wantsRows: boolean): ReturnType<Connection["query"]> {
  const { sql, values } = typeof query === "string" ? { sql: query, values: undefined } : query;
  if (wantsRows) {
    return connection.query({ sql: values ? connection.format(sql, values.map(literal)) : sql, rowsAsArray: true });
  }
  if (values) return connection.execute({ sql, values: values as (string | null)[], typeCast: unread });
  return connection.query({ sql, typeCast: false });
}

/** What nobody reads is not to be parsed: mysql2 fails on JSON that the server takes. `false` is for text only. */
const unread = () => null;

/** A value for `format()` that means the same in every `sql_mode` and the same as in a prepared statement. */
function literal(value: unknown): unknown {
  if (value === undefined) throw new TypeError("A value must not be undefined: give null");
  if (typeof value === "bigint") return mysql.raw(String(value));
  if (typeof value === "object" && value !== null && !(value instanceof Date) && !Buffer.isBuffer(value)) {
    return literal(JSON.stringify(value));
  }
  // Whether a backslash escapes depends on NO_BACKSLASH_ESCAPES.
  if (typeof value !== "string" || !/[\\'\0-\x1f]/.test(value)) return value;
  return mysql.raw(`_utf8mb4 X'${Buffer.from(value).toString("hex")}'`);
}

/**
 * Rejects with the server's error for a text that is more than one statement, where the connection would run them all.
 *
 * Preparing takes one statement only; 1295 says that it is one, of a kind that cannot be prepared.
 */
export function checkOneStatement(connection: Connection, sql: string): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.prepare(sql, (error, statement) => {
      if (error && error.errno !== 1295) return reject(error);
      statement?.close();
      resolve();
    });
  });
}
