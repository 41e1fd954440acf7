/** A unit of work: a query, or what a script's `workerDo()` takes; as bytes in a segment, and for people. */
import { inspect } from "node:util";
import { deserialize, serialize } from "node:v8";

/** SQL text, or SQL with values for its placeholders. `at` says where it came from, such as `dump.sql:12`. */
export type Query = string | { sql: string; values?: readonly unknown[]; at?: string };

/** `located`: `at`, a newline, and the SQL text: what files are full of. */
const encodings = { text: 0, located: 1, clone: 2 } as const;

/** @throws DataCloneError for a value that `structuredClone` does not take. */
export function encodeUnit(unit: unknown): { encoding: number; content: string | Buffer } {
  if (typeof unit === "string") return { encoding: encodings.text, content: unit };
  const located = locatedText(unit);
  if (located !== undefined) return { encoding: encodings.located, content: located };
  return { encoding: encodings.clone, content: serialize(unit) };
}

/** Reads a unit from `bytes`: its encoding at `start`, and its content from there to `end`. */
export function decodeUnit(bytes: Buffer, start: number, end: number): unknown {
  if (bytes[start] === encodings.clone) {
    return deserialize(Buffer.from(bytes.subarray(start + 1, end))); // a copy: what it holds outlives the segment
  }
  const text = bytes.toString("utf8", start + 1, end);
  if (bytes[start] === encodings.text) return text;
  const newline = text.indexOf("\n");
  return { at: text.slice(0, newline), sql: text.slice(newline + 1) };
}

function locatedText(unit: unknown): string | undefined {
  if (typeof unit !== "object" || unit === null) return undefined;
  const { at, sql, ...rest } = unit as { at?: unknown; sql?: unknown };
  const isPlain =
    typeof at === "string" && typeof sql === "string" && !at.includes("\n") && Object.keys(rest).length === 0;
  return isPlain ? `${at}\n${sql}` : undefined;
}

/** The beginning of a unit of work, on one line, for a person to recognize it by. */
export function describeUnit(unit: unknown, length = 200): string {
  const sql = typeof unit === "string" ? unit : (unit as { sql?: unknown } | null)?.sql;
  const text = typeof sql === "string" ? sql : inspect(unit, { breakLength: Number.POSITIVE_INFINITY });
  return text
    .slice(0, length * 2)
    .replace(/\s+/g, " ")
    .trim()
    .slice(0, length);
}

/** @throws TypeError for what is no query. */
export function checkQuery(seq: number, unit: unknown): void {
  if (typeof unit === "string" || typeof (unit as { sql?: unknown } | null)?.sql === "string") return;
  throw new TypeError(
    `Cannot run query ${seq}: it must be SQL text or { sql, values }, not ${inspect(unit, { depth: 0 })}`,
  );
}
