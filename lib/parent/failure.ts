/** Describes a failed query for the summary and the job log, in values that JSON can hold. */
import { inspect, types } from "node:util";
import { bytesOf } from "../mysql/values.ts";
import type { Ended } from "../shared/counters.ts";
import type { PlainError } from "../shared/messages.ts";
import { describeUnit, isQuery } from "../shared/query.ts";

/** Returns the entry of a failure in the summary and the job log, without its seq and outcome. */
export function describeFailure(unit: unknown, error: PlainError): Ended["failure"] {
  const { key, at = key, values } = Object(unit) as { at?: unknown; key?: unknown; values?: unknown };
  return {
    ...(typeof at === "string" && { at }),
    ...(typeof key === "string" && { key }),
    sql: describeUnit(unit),
    ...(!isQuery(unit)
      ? { unit: toJsonValue(unit) }
      : Array.isArray(values) && { values: toJsonValue(values) as unknown[] }),
    ...error,
  };
}

/** Limits: characters of a string, members of an array or object, levels of nesting. Cut text and arrays end with how much is missing. */
const mostCharacters = 200;
const mostMembers = 50;
const deepest = 3;

/** Converts a value to JSON. Bytes become hexadecimal text. Anything else that JSON cannot hold becomes a description. */
function toJsonValue(value: unknown, depth = 1): unknown {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value !== "object") return cut(typeof value === "string" ? value : String(value));
  if (types.isDate(value)) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
  const bytes = bytesOf(value);
  if (bytes) return cut(`0x${bytes.toString("hex", 0, mostCharacters)}`, 2 + bytes.length * 2);
  if (types.isBoxedPrimitive(value)) return toJsonValue(Object(value).valueOf(), depth + 1);
  const isPlain = /^\[object (?:Object|Array)\]$/.test(Object.prototype.toString.call(value));
  if (!isPlain || depth > deepest) return cut(inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY }));
  if (Array.isArray(value)) {
    const shown = value.slice(0, mostMembers);
    const json = Array.from(shown, (member) => toJsonValue(member, depth + 1));
    return value.length > mostMembers ? [...json, `… ${value.length - mostMembers} more`] : json;
  }
  const members = Object.entries(value).slice(0, mostMembers);
  return Object.fromEntries(members.map(([key, member]) => [cut(key), toJsonValue(member, depth + 1)]));
}

function cut(text: string, length = text.length): string {
  const more = length - mostCharacters;
  return more > 0 ? `${text.slice(0, mostCharacters)}… ${more} more characters` : text;
}
