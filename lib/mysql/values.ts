/**
 * The meaning of JavaScript values in SQL. It is the same in the text protocol and in prepared statements.
 *
 *     null                              NULL
 *     a string                          text
 *     a number                          DOUBLE
 *     a bigint                          BIGINT, or DECIMAL if it is larger
 *     a boolean                         1 or 0
 *     a Date                            DATETIME, in local time or the connection's `timezone`
 *     a Buffer, typed array, DataView,
 *     ArrayBuffer or SharedArrayBuffer  its bytes
 *     Object(1), new String("a"), …     the primitive in it
 *     a plain object or array           JSON text
 *
 * Anything else throws a TypeError: undefined, NaN, infinities, invalid Dates, Dates outside the years 0000 to 9999, functions,
 * symbols, Map, Set, RegExp, Error and instances of any other class. An object or array that contains one of these throws, too,
 * because JSON would lose it. JSON leaves out a property that is undefined.
 */
import { types } from "node:util";

/** Value that both protocols can send as it is. */
export type SqlValue = null | string | number | bigint | boolean | Buffer | Date;

/** Converts values to what both protocols can send. @throws TypeError that names the first value without a meaning in SQL. */
export function toSqlValues(values: unknown): SqlValue[] {
  const refusal = refusalOf(values);
  if (refusal !== undefined) throw new TypeError(refusal);
  return (values as unknown[]).map(toSqlValue);
}

/** Returns an error message about the first value without a meaning in SQL. Returns undefined if all have one. */
export function refusalOf(values: unknown): string | undefined {
  if (!Array.isArray(values)) return `The values must be an array, not ${describe(values)}`;
  for (let index = 0; index < values.length; index++) {
    const why = whyNot(values[index]);
    if (why !== undefined) return `Value ${index + 1} of ${values.length} ${why}`;
  }
  return undefined;
}

/** Returns the bytes of a binary value without copying them. Returns undefined for any other value. */
export function bytesOf(value: object): Buffer | undefined {
  if (Buffer.isBuffer(value)) return value;
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return types.isAnyArrayBuffer(value) ? Buffer.from(value) : undefined;
}

/** Formats a Date for SQL: `2024-01-31 09:05:00`, with microseconds if it has milliseconds. */
export function dateText(date: Date, timezone = "local"): string {
  const isLocal = timezone === "local";
  const [, sign, hours, minutes] = /^([+-])(\d\d):?(\d\d)$/.exec(timezone) ?? [];
  const offset = Number(`${sign ?? "+"}1`) * (Number(hours ?? 0) * 60 + Number(minutes ?? 0));
  // Shifts the time so that `toISOString()`, which is UTC, prints the digits of the wanted time zone.
  const moved = isLocal ? localAsUtc(date) : new Date(date.getTime() + offset * 60_000);
  const [day, time] = moved.toISOString().split("T") as [string, string];
  const [seconds, milliseconds] = time.slice(0, -1).split(".") as [string, string];
  return `${day} ${seconds}${milliseconds === "000" ? "" : `.${milliseconds}000`}`;
}

function localAsUtc(date: Date): Date {
  const moved = new Date(0);
  moved.setUTCFullYear(date.getFullYear(), date.getMonth(), date.getDate());
  moved.setUTCHours(date.getHours(), date.getMinutes(), date.getSeconds(), date.getMilliseconds());
  return moved;
}

const takes = "SQL takes null, text, finite numbers, booleans, Dates, bytes, and plain objects and arrays as JSON";

function whyNot(given: unknown): string | undefined {
  const value = unboxed(given);
  if (typeof value === "number") return Number.isFinite(value) ? undefined : `is ${value}: SQL has no such number`;
  if (value === undefined) return "is undefined: give null";
  if (value === null || typeof value === "string" || typeof value === "boolean" || typeof value === "bigint") return;
  if (types.isDate(value)) return whyNoDate(value);
  if (typeof value !== "object") return `is ${describe(value)}: ${takes}`;
  if (bytesOf(value)) return undefined;
  if (!isPlain(value)) return `is ${describe(value)}: ${takes}`;
  const lost = findLost(value, []);
  return lost && `is JSON with ${lost.what} at ${lost.path}`;
}

function whyNoDate(date: Date): string | undefined {
  if (Number.isNaN(date.getTime())) return "is an invalid Date";
  const year = date.getFullYear();
  return year < 0 || year > 9999 ? `is a Date of the year ${year}: SQL has 0000 to 9999` : undefined;
}

/** Finds the first part of a value that JSON would lose or change. A Buffer counts as its `toJSON()`. */
function findLost(given: unknown, around: object[]): { what: string; path: string } | undefined {
  const value = unboxed(given);
  if (Buffer.isBuffer(value)) return undefined;
  if (typeof value !== "object" || value === null || types.isDate(value)) {
    const isLost = typeof value === "bigint" || whyNot(value) !== undefined;
    return isLost ? { what: describe(value), path: "" } : undefined;
  }
  if (around.includes(value)) return { what: "a circle", path: "" };
  if (!isPlain(value)) return { what: describe(value), path: "" };
  around.push(value);
  const isArray = Array.isArray(value);
  for (const [key, part] of isArray ? value.entries() : Object.entries(value)) {
    const lost = part === undefined && !isArray ? undefined : findLost(part, around);
    if (lost) return { what: lost.what, path: `${isArray ? `[${key}]` : `.${key}`}${lost.path}` };
  }
  around.pop();
  return undefined;
}

function isPlain(value: object): boolean {
  if (Array.isArray(value)) return true;
  const prototype = Object.getPrototypeOf(value);
  const isOfNoClass = prototype === null || Object.getPrototypeOf(prototype) === null;
  return isOfNoClass && Object.prototype.toString.call(value) === "[object Object]";
}

function unboxed(value: unknown): unknown {
  return types.isBoxedPrimitive(value) ? value.valueOf() : value;
}

/** Describes a value for messages: `a Map`, `an Error`, `a function`, `NaN`. */
function describe(value: unknown): string {
  if (value === null || value === undefined || typeof value === "number") return String(value);
  if (types.isDate(value)) return "an invalid Date";
  const name = typeof value === "object" ? Object.getPrototypeOf(value)?.constructor?.name : typeof value;
  return typeof name === "string" && name !== "" ? `${/^[AEIO]/i.test(name) ? "an" : "a"} ${name}` : "an object";
}

function toSqlValue(given: unknown): SqlValue {
  const value = unboxed(given) as SqlValue | object;
  if (typeof value !== "object" || value === null || types.isDate(value)) return value;
  return bytesOf(value) ?? JSON.stringify(value);
}
