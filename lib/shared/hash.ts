/** What a query is known by, in a job log and in a ledger. */
import { createHash } from "node:crypto";
import { types } from "node:util";
import { bytesOf } from "../mysql/values.ts";

/**
 * What a query is known by: 16 hex digits that are the same wherever the query comes from, and on both sides of a thread.
 *
 * Of values, `v8.serialize()` would not do: it tells apart what is equal, such as an integer before and after its way to a thread.
 */
export function hashOf(unit: unknown): string {
  return noted.get(Object(unit)) ?? createHash("sha256").update(contentOf(unit)).digest("hex").slice(0, 16);
}

/** What a person can do whose queries are not those that are known of an earlier run. */
export const sameQueries =
  "give it the same queries in the same order; only what has failed may be corrected, and more may follow";
/** The same for queries with keys. */
export const sameKeys = "what is done, or may have run, keeps its text: give another text another key";

const noted = new WeakMap<object, string>();

/** Notes the hash of a unit that has come to this thread without some of its values. */
export function noteHash(unit: object, hash: string): void {
  noted.set(unit, hash);
}

/** SQL is its text, without `at`, as its file may have another name by now, and without its key. */
function contentOf(unit: unknown): string | Uint8Array {
  if (typeof unit === "string") return unit;
  const { at, key, ...query } = Object(unit);
  if (typeof query.sql !== "string" && !(query.sql instanceof Uint8Array)) return canonical(unit);
  return Object.keys(query).length === 1 ? query.sql : canonical(query);
}

function canonical(value: unknown, around: readonly unknown[] = []): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value !== "object" || value === null) return String(value);
  if (value instanceof Date) return `Date ${value.getTime()}`;
  const bytes = bytesOf(value);
  if (bytes) return `Bytes ${bytes.toString("base64")}`;
  if (types.isBoxedPrimitive(value) && typeof value.valueOf() !== "object") return canonical(value.valueOf());
  if (around.includes(value)) return `^${around.indexOf(value)}`;
  const inside = (part: unknown) => canonical(part, [...around, value]);
  if (Array.isArray(value) || value instanceof Set || value instanceof Map) return `[${[...value].map(inside)}]`;
  return `{${Object.entries(value).map(([key, part]) => `${JSON.stringify(key)}:${inside(part)}`)}}`;
}
