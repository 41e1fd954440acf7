/** Units of work as NDJSON, for people and for other programs. */
import { nameOfQuery } from "../shared/query.ts";
import { UsageError } from "./errors.ts";

/**
 * Returns a line such as `{"seq":7,"unit":{"path":"a"}}`. What JSON has no form for is as in `--rows`: a bigint is its digits,
 * bytes are base64; a Map is a list of pairs, a Set a list.
 *
 * @throws UsageError for a unit that refers to itself.
 */
export function toJsonLine(seq: number, unit: unknown): string {
  try {
    return `${JSON.stringify({ seq, unit }, plain)}\n`;
  } catch (error) {
    const [why] = (error as Error).message.split("\n");
    throw new UsageError(`Cannot print ${nameOfQuery(seq, unit, "unit")}, as JSON: ${why}`);
  }
}

/** Is called with what `toJSON()` has made of a member already. */
function plain(this: Record<string, unknown>, name: string, made: unknown): unknown {
  const value = this[name];
  if (typeof value === "bigint") return String(value);
  if (ArrayBuffer.isView(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64");
  if (value instanceof ArrayBuffer) return Buffer.from(value).toString("base64");
  return value instanceof Map || value instanceof Set ? [...value] : made;
}
