/** Encodes units of work for a segment, and describes them for messages. A unit is a query, or what a script's `workerDo()` takes. */
import { isUtf8 } from "node:buffer";
import { inspect } from "node:util";
import { deserialize, serialize } from "node:v8";
import { bytesOf, refusalOf, type SqlValue, toSqlValues } from "../mysql/values.ts";
import { hashOf, noteHash } from "./hash.ts";

/**
 * SQL text, or SQL with values for its placeholders. `at` is its place, such as `dump.sql:12`. `key` is its name. A job log and
 * a ledger identify a query by its key, and one without a key by its position in the input.
 *
 * A string is sent as UTF-8. Bytes are sent as they are. A query with values is one statement. `../mysql/values.ts` defines the
 * meaning of each value.
 */
export type Query = string | { sql: string | Uint8Array; values?: readonly unknown[]; at?: string; key?: string };

/** Encodings of a unit. `located`, for the statements of files, has `at`, NUL and `key` if it has one, a newline, and the SQL text. */
const encodings = { text: 0, located: 1, clone: 2, refused: 3 } as const;

/**
 * Returns the bytes of a unit, in pieces to concatenate.
 *
 * @throws DataCloneError for a value that `structuredClone` does not take.
 */
export function encodeUnit(unit: unknown): { encoding: number; pieces: readonly (string | Uint8Array)[] } {
  if (typeof unit === "string") return { encoding: encodings.text, pieces: [unit] };
  if (isLocatedText(unit)) {
    const { at = "", key, sql } = unit;
    const head = key === undefined ? `${at}\n` : `${at}\0${key}\n`;
    return { encoding: encodings.located, pieces: typeof sql === "string" ? [head + sql] : [head, sql] };
  }
  const { sql, values } = Object(unit) as { sql?: unknown; values?: unknown };
  if (!isSql(sql) || values === undefined) return { encoding: encodings.clone, pieces: [serialize(unit)] };
  const why = refusalOf(values);
  if (why !== undefined) return { encoding: encodings.refused, pieces: [encodeRefused(unit as object, values, why)] };
  // `serialize()` does not copy shared memory.
  const isShared = (values as unknown[]).some((value) => value instanceof SharedArrayBuffer);
  const unshared = (value: unknown) => (value instanceof SharedArrayBuffer ? bytesOf(value) : value);
  const sent = isShared ? { ...(unit as object), values: (values as unknown[]).map(unshared) } : unit;
  return { encoding: encodings.clone, pieces: [serialize(sent)] };
}

/** Facts about a query with a value that has no meaning in SQL. Its copy hides them: an instance of a class arrives as a plain object. */
interface Refusal {
  readonly why: string;
  /** Some values are described as text, because `structuredClone` does not take them. */
  readonly isDescribed: boolean;
  readonly hash: string;
}

const refusals = new WeakMap<object, Refusal>();

function encodeRefused(unit: object, values: unknown, why: string): Buffer {
  const hash = hashOf(unit);
  try {
    return serialize([unit, { why, isDescribed: false, hash }]);
  } catch {
    const described = Array.isArray(values) ? Array.from(values, describeUncloneable) : inspect(values);
    return serialize([
      { ...unit, values: described },
      { why, isDescribed: true, hash },
    ]);
  }
}

function describeUncloneable(value: unknown): unknown {
  try {
    serialize(value);
    return value;
  } catch {
    return inspect(value, { depth: 0 });
  }
}

function decodeRefused(bytes: Buffer): object {
  const [unit, refusal] = deserialize(bytes) as [object, Refusal];
  refusals.set(unit, refusal);
  noteHash(unit, refusal.hash);
  return unit;
}

/** Returns the values of a query to send. @throws TypeError that names the first one without a meaning in SQL. */
export function valuesOf(query: Exclude<Query, string>): SqlValue[] {
  const refusal = refusals.get(query);
  if (refusal) throw new TypeError(refusal.why);
  return toSqlValues(query.values);
}

/** @throws TypeError for a query with a value that has no meaning in SQL. */
export function checkValues(query: Query): void {
  if (typeof query !== "string" && query.values !== undefined) valuesOf(query);
}

/** @throws TypeError for a unit that did not arrive in this thread unchanged. */
export function checkWhole(unit: unknown): void {
  const refusal = refusals.get(Object(unit));
  if (refusal?.isDescribed) throw new TypeError(refusal.why);
}

/** Reads a unit from `bytes`: its encoding at `start`, and its content from there to `end`. */
export function decodeUnit(bytes: Buffer, start: number, end: number): unknown {
  if (bytes[start]! >= encodings.clone) {
    const copy = Buffer.from(bytes.subarray(start + 1, end)); // buffers in the unit point into it, and outlive the segment
    return bytes[start] === encodings.refused ? decodeRefused(copy) : deserialize(copy);
  }
  if (bytes[start] === encodings.text) return bytes.toString("utf8", start + 1, end);
  const newline = bytes.indexOf("\n", start + 1);
  const text = Buffer.from(bytes.subarray(newline + 1, end));
  const [at, key] = bytes.toString("utf8", start + 1, newline).split("\0") as [string, string?];
  const sql = isUtf8(text) ? text.toString() : text;
  return key === undefined ? { at, sql } : at === "" ? { key, sql } : { at, key, sql };
}

/** Returns a view of the bytes of a text without values, undefined for any other unit. */
export function textIn(bytes: Buffer, start: number, end: number): Buffer | undefined {
  if (bytes[start]! >= encodings.clone) return undefined;
  return bytes.subarray(bytes[start] === encodings.text ? start + 1 : bytes.indexOf("\n", start + 1) + 1, end);
}

function isLocatedText(unit: unknown): unit is { at?: string; key?: string; sql: string | Uint8Array } {
  if (typeof unit !== "object" || unit === null) return false;
  const { at, key, sql } = unit as { at?: unknown; key?: unknown; sql?: unknown };
  const isHead = typeof at === "string" ? !/[\n\0]/.test(at) : at === undefined && typeof key === "string";
  if (!isHead || !isSql(sql)) return false;
  const { length } = Object.keys(unit);
  return key === undefined ? length === 2 : keyOf(unit) !== undefined && length === (at === undefined ? 2 : 3);
}

/** Most characters of a key. The oldest tables of MySQL and MariaDB cannot index longer text. */
const longestKey = 190;

/**
 * Returns the `key` of a unit of work if it is text, undefined if there is none.
 *
 * @throws TypeError for an invalid key.
 */
export function keyOf(unit: unknown): string | undefined {
  const { key } = Object(unit) as { key?: unknown };
  if (typeof key !== "string") {
    if (key !== undefined && isQuery(unit))
      throw new TypeError(`its key must be text, not ${inspect(key, { depth: 0 })}`);
    return undefined;
  }
  const isText = Buffer.from(key).toString() === key; // false for half of a surrogate pair
  if (isText && key.length > 0 && key.length <= longestKey && !/\p{Cc}|\s$/u.test(key)) return key;
  throw new TypeError(
    `its key must be 1 to ${longestKey} characters, without control characters and a space at the end, not ${inspect(key)}`,
  );
}

function isSql(sql: unknown): sql is string | Uint8Array {
  return typeof sql === "string" || sql instanceof Uint8Array;
}

/** Returns the SQL text of a unit for analysis, "" if it has none. Bytes are read as Latin-1, because all that matters in SQL is ASCII. */
export function sqlOf(unit: unknown): string {
  const sql = typeof unit === "string" ? unit : (unit as { sql?: unknown } | null)?.sql;
  return typeof sql === "string" ? sql : sql instanceof Uint8Array ? Buffer.from(sql).toString("latin1") : "";
}

/** Returns the beginning of a unit of work on one line, for messages. */
export function describeUnit(unit: unknown, length = 200): string {
  const sql = typeof unit === "string" ? unit : (unit as { sql?: unknown } | null)?.sql;
  const text = isSql(sql)
    ? Buffer.from(sql.slice(0, length * 2) as string).toString()
    : inspect(unit, { breakLength: Number.POSITIVE_INFINITY });
  return text
    .slice(0, length * 2)
    .replace(/\s+/g, " ")
    .trim()
    .slice(0, length);
}

/** Returns the name of a query for messages: `query 7`, or `query 7, dump.sql:12` with its place or its key. */
export function nameOfQuery(seq: number, unit: unknown, noun: "query" | "unit" = "query"): string {
  const { at, key } = Object(unit) as { at?: unknown; key?: unknown };
  const names = [...new Set([at, key])].filter((name) => typeof name === "string");
  return [`${noun} ${seq}`, ...names.map((name) => name.replace(/\s+/g, " "))].join(", ");
}

export function isQuery(unit: unknown): unit is Query {
  return typeof unit === "string" || isSql((unit as { sql?: unknown } | null)?.sql);
}
