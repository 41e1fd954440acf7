/** Runs one query on a connection. */
import { isUtf8 } from "node:buffer";
import type { Connection } from "mysql2";
import { type Query, valuesOf } from "../shared/query.ts";
import { type ResultListener, sendPrepared, sendText } from "./command.ts";
import { stateOf } from "./connection-state.ts";
import { withValues } from "./literal.ts";
import { bytesBefore, type Capabilities } from "./mysql2-query.ts";
import { checkCount, losesValues, prepare, prepareFor, takesInteger, typesParameters } from "./prepared.ts";
import type { SqlValue } from "./values.ts";

/**
 * Runs one query. Sends a text in the text protocol, and `{ sql, values }` as a prepared statement.
 *
 * With `onResult`, the values are written into the text. Only the text protocol returns rows as the server prints them.
 *
 * @returns the number of rows returned, changed, inserted or deleted.
 * @throws mysql2's QueryError. TypeError for a value without a meaning in SQL.
 */
export function execute(connection: Connection, query: Query, listener: ResultListener = {}): Promise<number> {
  if (typeof query === "string") return executeText(connection, [toBytes(query)], listener);
  if (query.values === undefined) return executeText(connection, [toBytes(query.sql)], listener);
  return executeWithValues(connection, query, listener);
}

async function executeWithValues(
  connection: Connection,
  query: Exclude<Query, string>,
  listener: ResultListener,
): Promise<number> {
  const values = valuesOf(query);
  const sql = typeof query.sql === "string" ? query.sql : Buffer.from(query.sql).toString();
  if (listener.onResult || losesValues(connection, values)) {
    return executeText(connection, [await textFor(connection, sql, values)], listener);
  }
  const { statement, parameters } = await prepareFor(connection, sql, values);
  const refusal = refuseSize(connection, values);
  if (refusal) throw refusal;
  return sendPrepared(connection, statement, parameters, listener.onDone);
}

/** Writes the values into the text. Prepares it before, if it can be prepared, so that the server counts the placeholders. */
async function textFor(connection: Connection, sql: string, values: readonly SqlValue[]): Promise<Buffer> {
  const { timezone } = connection.config as { timezone?: string };
  const statement = await prepare(connection, sql).catch((error) => {
    if (error.errno === notPreparable) return undefined;
    throw error;
  });
  if (!statement) return Buffer.from(withValues(sql, values, { timezone }));
  checkCount(statement, values);
  const takesDigits = (index: number) => typesParameters(connection) && takesInteger(statement, index);
  return Buffer.from(withValues(sql, values, { timezone, takesDigits }));
}

export const notPreparable = 1295; // ER_UNSUPPORTED_PS

/** Runs one text, given in pieces. */
export function executeText(
  connection: Connection,
  pieces: readonly Uint8Array[],
  listener: ResultListener,
): Promise<number> {
  const refusal = refuseSize(connection, pieces);
  if (refusal) return Promise.reject(refusal);
  if (listener.onResult && stateOf(connection).needsUtf8) return sendForUtf8(connection, pieces, listener);
  return sendText(connection, pieces, listener); // not async: an outer promise costs three more microtasks
}

async function sendForUtf8(connection: Connection, pieces: readonly Uint8Array[], listener: ResultListener) {
  await sendText(connection, [utf8Results], {});
  return sendText(connection, pieces, listener);
}

const utf8Results = Buffer.from("SET character_set_results = utf8mb4");

/** Returns an error if the query exceeds `max_allowed_packet`. The server would close the connection instead of answering. */
function refuseSize(connection: Connection, parts: readonly unknown[]): Error | undefined {
  const most = stateOf(connection).packetLimit;
  let bytes = bytesBefore(connection as unknown as Capabilities);
  for (const part of parts) {
    if (typeof part === "string") bytes += Buffer.byteLength(part);
    else if (part instanceof Uint8Array) bytes += part.length;
  }
  if (bytes < most) return undefined;
  const sizes = `it has ${bytes.toLocaleString("en")} bytes, and max_allowed_packet is ${most.toLocaleString("en")}`;
  return Object.assign(new Error(`The server does not take the query: ${sizes}`), { code: "PACKET_TOO_LARGE" });
}

/** Returns the bytes to send for a text. */
export function toBytes(text: string | Uint8Array): Uint8Array {
  return typeof text === "string" ? Buffer.from(text) : text;
}

/** Runs a text of one or more statements, and returns all their rows. For results of a few rows. */
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

/**
 * Returns the warnings of the last statement. Does not change the character set of results
 * before, because a SET clears the warnings on MySQL.
 */
export async function readWarnings(connection: Connection) {
  const warnings: { level: string; code: number; message: string }[] = [];
  await sendText(connection, [Buffer.from("SHOW WARNINGS")], {
    withoutColumns: true,
    onResult: () => (row) => {
      const next = () => textOf(row.readLengthCodedBuffer() ?? Buffer.of());
      warnings.push({ level: next(), code: Number(next()), message: next() });
      return true;
    },
  });
  return warnings;
}

/** Decodes a text of the server's. It is ASCII nearly always, and in the session's character set. */
function textOf(bytes: Buffer): string {
  return bytes.toString(isUtf8(bytes) ? "utf8" : "latin1");
}
