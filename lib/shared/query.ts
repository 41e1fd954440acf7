/** A unit of work: a query, or what a script's `workerDo()` takes; as bytes in a segment, and for people. */
import { isUtf8 } from "node:buffer";
import { inspect } from "node:util";
import { deserialize, serialize } from "node:v8";
import { bytesOf, refusalOf, type SqlValue, toSqlValues } from "../mysql/values.ts";
import { hashOf, noteHash } from "./hash.ts";

/**
 * SQL text, or SQL with values for its placeholders. `at` says where it came from, such as `dump.sql:12`. `key` is its name: a
 * job log and a ledger know a query that has one by it, and not by its place in the input.
 *
 * A string is sent as UTF-8; bytes are sent as they are. With values it is one statement; `../mysql/values.ts` says what
 * each of them means.
 */
export type Query = string | { sql: string | Uint8Array; values?: readonly unknown[]; at?: string; key?: string };

/** `located`: `at` and, behind a NUL, `key`; a newline; the SQL text. Files are full of it. */
const encodings = { text: 0, located: 1, clone: 2, refused: 3 } as const;

/**
 * Makes bytes of a unit, given in pieces that are to be put together.
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
  // V8 does not copy shared memory.
  const isShared = (values as unknown[]).some((value) => value instanceof SharedArrayBuffer);
  const unshared = isShared && { ...(unit as object), values: (values as unknown[]).map(withoutSharing) };
  return { encoding: encodings.clone, pieces: [serialize(unshared || unit)] };
}

function withoutSharing(value: unknown): unknown {
  return value instanceof SharedArrayBuffer ? bytesOf(value) : value;
}

/** Facts about a query with a value that has no meaning in SQL. Its copy hides them: there, an instance of a class is a plain object. */
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

/** The values of a query, to be sent. @throws TypeError that names the first one without a meaning in SQL. */
export function valuesOf(query: Exclude<Query, string>): SqlValue[] {
  const refusal = refusals.get(query);
  if (refusal) throw new TypeError(refusal.why);
  return toSqlValues(query.values);
}

/** @throws TypeError for a query with a value that has no meaning in SQL. */
export function checkValues(query: Query): void {
  if (typeof query !== "string" && query.values !== undefined) valuesOf(query);
}

/** @throws TypeError for a unit that has not come to this thread as it was. */
export function checkWhole(unit: unknown): void {
  const refusal = refusals.get(Object(unit));
  if (refusal?.isDescribed) throw new TypeError(refusal.why);
}

/** Reads a unit from `bytes`: its encoding at `start`, and its content from there to `end`. */
export function decodeUnit(bytes: Buffer, start: number, end: number): unknown {
  if (bytes[start]! >= encodings.clone) {
    const copy = Buffer.from(bytes.subarray(start + 1, end)); // what it holds outlives the segment
    return bytes[start] === encodings.refused ? decodeRefused(copy) : deserialize(copy);
  }
  if (bytes[start] === encodings.text) return bytes.toString("utf8", start + 1, end);
  const newline = bytes.indexOf("\n", start + 1);
  const text = Buffer.from(bytes.subarray(newline + 1, end));
  const [at, key] = bytes.toString("utf8", start + 1, newline).split("\0") as [string, string?];
  const sql = isUtf8(text) ? text.toString() : text;
  return key === undefined ? { at, sql } : at === "" ? { key, sql } : { at, key, sql };
}

/** The bytes of a unit that is a text without values, where they stand; undefined for any other. */
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

/** The longest key, in characters: MySQL's and MariaDB's oldest tables have no longer text as a key. */
const longestKey = 190;

/**
 * Returns the name that its owner has given a unit of work: text in a property `key`; undefined where it has none.
 *
 * @throws TypeError for a text that cannot be one.
 */
export function keyOf(unit: unknown): string | undefined {
  const key = typeof unit === "object" && unit !== null ? (unit as { key?: unknown }).key : undefined;
  if (typeof key !== "string") {
    if (key !== undefined && isQuery(unit))
      throw new TypeError(`its key must be text, not ${inspect(key, { depth: 0 })}`);
    return undefined;
  }
  const isText = Buffer.from(key).toString() === key; // a half of a character is not
  if (isText && key.length > 0 && key.length <= longestKey && !/\p{Cc}|\s$/u.test(key)) return key;
  throw new TypeError(
    `its key must be 1 to ${longestKey} characters, without control characters and a space at the end, not ${inspect(key)}`,
  );
}

function isSql(sql: unknown): sql is string | Uint8Array {
  return typeof sql === "string" || sql instanceof Uint8Array;
}

/** The text of a unit to look at, "" where there is none; bytes are taken for Latin-1: whatever counts in SQL is ASCII. */
export function sqlOf(unit: unknown): string {
  const sql = typeof unit === "string" ? unit : (unit as { sql?: unknown } | null)?.sql;
  return typeof sql === "string" ? sql : sql instanceof Uint8Array ? Buffer.from(sql).toString("latin1") : "";
}

/** The beginning of a unit of work, on one line, for a person to recognize it by. */
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

/** What a person calls it: only a script's own `workerDo()` takes what is no SQL, and may take a text. */
export function nounOf(unit: unknown): "query" | "unit" {
  return typeof unit === "string" || isSql((unit as { sql?: unknown } | null)?.sql) ? "query" : "unit";
}

/** For people: `query 7`, or with its place or its key, `query 7, dump.sql:12`. */
export function nameOfQuery(seq: number, unit: unknown, noun = nounOf(unit)): string {
  const { at, key } = Object(unit) as { at?: unknown; key?: unknown };
  const names = [...new Set([at, key])].filter((name) => typeof name === "string");
  return [`${noun} ${seq}`, ...names.map((name) => name.replace(/\s+/g, " "))].join(", ");
}

/** The beginning of a query's values, on one line, for a person; undefined where it has none. */
export function describeValues(unit: unknown, length = 400): string | undefined {
  const { sql, values } = Object(unit) as { sql?: unknown; values?: unknown };
  if (!isSql(sql) || !Array.isArray(values)) return undefined;
  const shortened = { maxStringLength: 60, maxArrayLength: 50, depth: 1, breakLength: Number.POSITIVE_INFINITY };
  return inspect(values, shortened).slice(0, length);
}

export function isQuery(unit: unknown): unit is Query {
  return typeof unit === "string" || isSql((unit as { sql?: unknown } | null)?.sql);
}

/** @throws TypeError for what is no query. */
export function checkQuery(seq: number, unit: unknown): asserts unit is Query {
  if (isQuery(unit)) return;
  throw new TypeError(
    `Cannot run query ${seq}: it must be SQL text or { sql, values }, not ${inspect(unit, { depth: 0 })}`,
  );
}
