/** Running one query on a connection. */
import mysql, { type Connection } from "mysql2";
import type { Query } from "../shared/query.ts";
import { type ResultListener, sendPrepared, sendText } from "./command.ts";
import { nameError } from "./errors.ts";
import { bytesBefore, type Capabilities } from "./query-packet.ts";
import { needsUtf8, packetLimitOf } from "./server-state.ts";

/**
 * Runs one query: SQL text as text, `{ sql, values }` as a prepared statement.
 *
 * With `onResult`, values go into the text, too: in the text protocol alone they come back as the server prints them.
 *
 * @returns the number of rows: returned by a SELECT, changed by an UPDATE, inserted, deleted.
 * @throws mysql2's QueryError, and TypeError for a value that it cannot send.
 */
export function execute(connection: Connection, query: Query, listener: ResultListener = {}): Promise<number> {
  const { sql, values } = typeof query === "string" ? { sql: query, values: undefined } : query;
  if (values === undefined) return executeText(connection, [toBytes(sql)], listener);
  return executeFilled(connection, sql, values, listener);
}

async function executeFilled(
  connection: Connection,
  sql: string | Uint8Array,
  values: readonly unknown[],
  listener: ResultListener,
): Promise<number> {
  const text = typeof sql === "string" ? sql : Buffer.from(sql).toString();
  const count = await placeholdersIn(connection, text, listener.onResult !== undefined);
  if (count !== undefined && count !== values.length) {
    // mysql2 sends them all the same, and the server takes for the columns what it likes.
    throw new RangeError(`There are ${count} placeholders and ${values.length} values: it takes one for each`);
  }
  if (!listener.onResult) {
    const refusal = refuseSize(connection, values);
    if (refusal) throw refusal;
    return sendPrepared(connection, text, values, listener.onDone);
  }
  const format: Format = (sql, literals) => connection.format(sql, literals);
  return executeText(connection, [Buffer.from(withValues(text, values, format))], listener);
}

/**
 * How many placeholders a text has; undefined for one that cannot be prepared, where that is not needed.
 *
 * @throws mysql2's QueryError when it cannot be prepared, or the connection is lost.
 */
async function placeholdersIn(connection: Connection, sql: string, isOptional: boolean): Promise<number | undefined> {
  const known = placeholders.get(connection) ?? new Map<string, number | undefined>();
  placeholders.set(connection, known);
  if (known.has(sql)) return known.get(sql);
  const count = await new Promise<number | undefined>((resolve, reject) => {
    connection.prepare(sql, (error, statement) => {
      if (error) nameError(error, connection);
      if (!error) resolve((statement as unknown as { readonly parameters: unknown[] }).parameters.length);
      else if (isOptional && !error.fatal) resolve(undefined);
      else reject(error);
    });
  });
  if (known.size >= textsKnown) known.clear();
  known.set(sql, count);
  return count;
}

/** By text. */
const placeholders = new WeakMap<Connection, Map<string, number | undefined>>();
const textsKnown = 1000;

/** Runs one text, which is given in pieces. */
export function executeText(
  connection: Connection,
  pieces: readonly Uint8Array[],
  listener: ResultListener,
): Promise<number> {
  const refusal = refuseSize(connection, pieces);
  if (refusal) return Promise.reject(refusal);
  if (listener.onResult && needsUtf8(connection)) return sendForUtf8(connection, pieces, listener);
  return sendText(connection, pieces, listener); // its own promise: one that waits for it takes three turns more
}

async function sendForUtf8(connection: Connection, pieces: readonly Uint8Array[], listener: ResultListener) {
  await sendText(connection, [utf8Results], {});
  return sendText(connection, pieces, listener);
}

const utf8Results = Buffer.from("SET character_set_results = utf8mb4");

/** Refuses what the server would not read, but close the connection over: an error with both sizes. */
function refuseSize(connection: Connection, parts: readonly unknown[]): Error | undefined {
  const most = packetLimitOf(connection);
  let bytes = bytesBefore(connection as unknown as Capabilities);
  for (const part of parts) {
    if (typeof part === "string") bytes += Buffer.byteLength(part);
    else if (part instanceof Uint8Array) bytes += part.length;
  }
  if (bytes < most) return undefined;
  const sizes = `it has ${bytes.toLocaleString("en")} bytes, and max_allowed_packet is ${most.toLocaleString("en")}`;
  return Object.assign(new Error(`The server does not take the query: ${sizes}`), { code: "PACKET_TOO_LARGE" });
}

/** The bytes that are sent of a text. */
export function toBytes(text: string | Uint8Array): Uint8Array {
  return typeof text === "string" ? Buffer.from(text) : text;
}

/** Runs a text of one or more statements, and returns the rows that they returned, a few at the most. */
export async function textRows(connection: Connection, text: string | Uint8Array): Promise<(string | null)[][]> {
  const rows: (string | null)[][] = [];
  await executeText(connection, [toBytes(text)], {
    onResult: (_, columns) => (row) => {
      rows.push(columns.map(() => row.readLengthCodedString("utf8")));
      return true;
    },
  });
  return rows;
}

/** Puts literals in the place of placeholders. */
type Format = (text: string, literals: unknown[]) => string;

const formatPlain: Format = (text, literals) => mysql.format(text, literals as string[]);

/**
 * The text with its values in it, which mean the same in every `sql_mode` and the same as in a prepared statement.
 *
 * @throws TypeError for `undefined`.
 */
export function withValues(text: string, values: readonly unknown[], format = formatPlain): string {
  const literals = values.map(literal);
  if (!/\b(?:LIMIT|OFFSET)\b/i.test(text)) return format(text, literals);
  // LIMIT takes a string of digits where it is prepared, but not quoted. No text has a NUL: it marks where such a string goes.
  const marked = literals.map((value, index) => (isDigits(value) ? mysql.raw(`\0${index}\0`) : value));
  return format(text, marked).replace(/\0(\d+)\0/g, (_, index, at: number, all: string) => {
    const digits = literals[index] as string;
    return /\b(?:LIMIT|OFFSET)\s+(?:\S+\s*,\s*)?$/i.test(all.slice(Math.max(0, at - 100), at)) ? digits : `'${digits}'`;
  });
}

function isDigits(value: unknown): boolean {
  return typeof value === "string" && /^\d+$/.test(value);
}

/** A value for `format()` that means the same in every `sql_mode` and the same as in a prepared statement. */
export function literal(value: unknown): unknown {
  if (value === undefined) throw new TypeError("A value must not be undefined: give null");
  if (typeof value === "bigint") return mysql.raw(String(value));
  if (typeof value === "number") return Number.isInteger(value) && !Object.is(value, -0) ? value : double(value);
  if (typeof value === "object" && value !== null && !(value instanceof Date) && !Buffer.isBuffer(value)) {
    return literal(JSON.stringify(value));
  }
  if (typeof value !== "string" || !/[\\'"\0-\x1f]/.test(value)) return value;
  // Whether a backslash escapes depends on NO_BACKSLASH_ESCAPES; two quotes are one in every mode.
  if (!/[\\\0-\x08\x0b-\x1f]/.test(value)) return mysql.raw(`'${value.replaceAll("'", "''")}'`);
  return mysql.raw(`_utf8mb4 X'${Buffer.from(value).toString("hex")}'`);
}

/** A number with an exponent: without, SQL takes it for a DECIMAL, and for 0 what is -0. */
function double(value: number): unknown {
  const text = Object.is(value, -0) ? "-0" : String(value);
  return Number.isFinite(value) && !text.includes("e") ? mysql.raw(`${text}e0`) : value;
}

/**
 * Whether a text is one statement: preparing takes no more. 1295 says that it is one, of a kind that cannot be prepared.
 *
 * @throws mysql2's QueryError when the connection is lost.
 */
export function isOneStatement(connection: Connection, sql: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    connection.prepare(sql, (error, statement) => {
      statement?.close();
      if (error?.fatal) reject(error);
      else resolve(!error || error.errno === 1295);
    });
  });
}
