/** Hashes of queries, for the job log and the ledger. */
import { createHash } from "node:crypto";
import { types } from "node:util";
import { bytesOf } from "../mysql/values.ts";

/**
 * Returns the 16 hex digits that identify a query. They are the same for every source of it, in the parent and in a thread.
 *
 * `v8.serialize()` cannot be hashed instead. It distinguishes equal values, such as an integer before and after its way to a thread.
 */
export function hashOf(unit: unknown): string {
  return noted.get(Object(unit)) ?? createHash("sha256").update(contentOf(unit)).digest("hex").slice(0, 16);
}

/** Advice in messages about an input that is not that of an earlier run. */
export const sameInput =
  "give it the same input in the same order; only what has failed may be corrected, and more may follow; what has keys may come and go";
/** The same advice for queries with keys. */
export const sameKeys = "what is done, or may have run, keeps its text: give another text another key";

const noted = new WeakMap<object, string>();

/** Notes the hash of a unit that arrived in this thread without some of its values. */
export function noteHash(unit: object, hash: string): void {
  noted.set(unit, hash);
}

/** Returns the hashed content. Of SQL that is text and values, without its key, and without `at`, because its file may be renamed. */
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
