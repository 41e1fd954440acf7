/** Units of a `workerDo()` that a job log has left, as NDJSON. */
import { UsageError } from "../../command/errors.ts";
import { nameOfQuery } from "../../shared/query.ts";

/**
 * Returns a line such as `{"seq":7,"unit":{"path":"a"}}`. As in `--rows`, a bigint becomes its digits, and bytes become base64.
 * A Map becomes a list of pairs, a Set a list.
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

/** Replaces values for `JSON.stringify()`. Reads them from `this`, because `made` is already the result of their `toJSON()`. */
function plain(this: Record<string, unknown>, name: string, made: unknown): unknown {
  const value = this[name];
  if (typeof value === "bigint") return String(value);
  if (ArrayBuffer.isView(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64");
  if (value instanceof ArrayBuffer) return Buffer.from(value).toString("base64");
  return value instanceof Map || value instanceof Set ? [...value] : made;
}
