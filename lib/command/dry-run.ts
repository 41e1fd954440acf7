/** `--dry-run`: prints the queries instead of running them. With `--resume`, prints what is left as an SQL file or as NDJSON. */
import { inspect } from "node:util";
import { myglobals } from "../myglobals.ts";
import { textWithValues } from "../mysql/literal.ts";
import { printable } from "../parent/text.ts";
import { nameOfQuery } from "../shared/query.ts";
import type { CoreFlags } from "./core-flags.ts";
import { UsageError } from "./errors.ts";
import type { Hook, Surroundings } from "./feature.ts";
import { features } from "./flag-table.ts";
import { escapeField, writeOrEnd } from "./output.ts";

/**
 * Returns a hook that prints each query on its own line. With `--resume`, it prints queries as an SQL file, if this copy has
 * that feature, and units as NDJSON.
 */
export async function showQueries({ given }: CoreFlags, { io, output, progress, drain }: Surroundings): Promise<Hook> {
  const printer = given.resume ? features.find(({ sqlPrinter }) => sqlPrinter) : undefined;
  const toSql = await printer?.sqlPrinter?.();
  const isTerminal = io.stdout.isTTY;
  const print = (text: string | Uint8Array) => writeOrEnd(isTerminal ? safe(text) : text, output, drain);
  const line = (seq: number, unit: unknown) => `${seq}\t${lineOf(unit)}\n`;
  const toText = !given.resume
    ? line
    : (seq: number, unit: unknown, isUnit: boolean) => (isUnit ? toJsonLine : (toSql ?? line))(seq, unit);
  let isLeft = false;
  return {
    options: {
      dryRun(seq, unit, isUnit) {
        isLeft = true;
        return print(toText(seq, unit, isUnit));
      },
    },
    check({ earlier }) {
      if (!isLeft && earlier.done + earlier.failed + earlier.unknown > 0) progress.log("nothing is left to run");
    },
  };
}

/** Returns a query or unit as one line. Appends the error if its values cannot be sent. */
function lineOf(unit: unknown): string {
  const { sql, values } = (typeof unit === "string" ? { sql: unit } : Object(unit)) as Record<string, unknown>;
  if (typeof sql !== "string" && !(sql instanceof Uint8Array))
    return inspect(unit, { breakLength: Number.POSITIVE_INFINITY });
  const text = typeof sql === "string" ? sql : Buffer.from(sql).toString();
  try {
    return escapeField(textWithValues({ sql: text, values }, myglobals.config?.db?.timezone));
  } catch (error) {
    return `${escapeField(text)} -- fails: ${(error as Error).message}`;
  }
}

/** Removes control characters, except line ends and tabs. */
function safe(text: string | Uint8Array): string {
  return Buffer.from(text as string)
    .toString()
    .split(/([\n\t])/)
    .map((part, index) => (index % 2 === 0 ? printable(part) : part))
    .join("");
}

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
