/** Writes the values of a query into its text, for the text protocol, which has no parameters. */
import mysql from "mysql2";
import { valuesOf } from "../shared/query.ts";
import { dateText, type SqlValue } from "./values.ts";

export interface LiteralOptions {
  /**
   * Returns true to write the integer at this index as digits. Other numbers get an exponent, which makes them a DOUBLE, as they
   * are when sent as parameters. @default true for integers that SQL prints alike in both forms
   */
  readonly takesDigits?: (index: number, value: number) => boolean;
  /** Time zone of mysql2's options: `local`, `Z` or `+02:00`. @default "local" */
  readonly timezone?: string | undefined;
}

/**
 * Writes the values into the text. The literals mean the same in every `sql_mode`, and the same as parameters of a prepared
 * statement. Placeholders without a value stay as they are.
 */
export function withValues(text: string, values: readonly SqlValue[], options: LiteralOptions = {}): string {
  const { takesDigits = isPrintedAlike, timezone } = options;
  let mark = "\0";
  while (text.includes(mark)) mark += "\0";
  const marked = mysql.format(
    text,
    values.map((_, index) => mysql.raw(`${mark}${index}${mark}`)) as unknown as string[],
  );
  return marked.replace(new RegExp(`${mark}(\\d+)${mark}`, "g"), (found, at: string, offset: number) => {
    const index = Number(at);
    const value = values[index] as SqlValue;
    const before = marked.slice(Math.max(0, offset - 100), offset);
    const literal = limit.test(before)
      ? digitsOf(value)
      : literalOf(value, typeof value === "number" && takesDigits(index, value), timezone);
    const after = marked.slice(offset + found.length, offset + found.length + 1);
    return `${/[\w-]$/.test(before) ? " " : ""}${literal}${/^\w/.test(after) ? " " : ""}`;
  });
}

/** Returns the text of a query with its values in it. @throws TypeError for values without a meaning in SQL. */
export function textWithValues({ sql, values }: { sql: string; values?: unknown }, timezone?: string): string {
  return values === undefined ? sql : withValues(sql, valuesOf({ sql, values: values as unknown[] }), { timezone });
}

const limit = /\b(?:LIMIT|OFFSET)\s+(?:\S+\s*,\s*)?$/i;

/** Returns the literal after a LIMIT. A text allows only digits there. A parameter may be any number, or a string of digits. */
function digitsOf(value: SqlValue): string {
  const isDigits = typeof value === "string" ? /^\d+$/.test(value) : typeof value === "bigint";
  return isDigits ? String(value) : literalOf(value, true);
}

/** Returns true if SQL prints an integer and the DOUBLE alike. From 1e15 on, it prints a DOUBLE with an exponent. */
function isPrintedAlike(_: number, value: number): boolean {
  return Number.isInteger(value) && Math.abs(value) < 1e15 && !Object.is(value, -0);
}

/** Characters that make a text be written as hexadecimal digits. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it looks for
export const hexCharacter = /[\\\0-\x08\x0b-\x1f]/;

function literalOf(value: SqlValue, asDigits: boolean, timezone?: string): string {
  if (value === null) return "NULL";
  if (typeof value === "boolean") return value ? "1" : "0"; // TRUE would be another value in JSON
  if (typeof value === "bigint") return value === BigInt.asIntN(64, value) ? String(value) : `${value}.`; // a DECIMAL
  if (typeof value === "number") return asDigits && Number.isSafeInteger(value) ? String(value) : double(value);
  if (typeof value === "object") {
    return Buffer.isBuffer(value) ? `_binary X'${value.toString("hex")}'` : `TIMESTAMP'${dateText(value, timezone)}'`; // X'31' alone may be a number
  }
  // NO_BACKSLASH_ESCAPES decides whether a backslash escapes. Two quotes are an escaped one in every mode.
  if (!hexCharacter.test(value)) return `'${value.replaceAll("'", "''")}'`;
  return `_utf8mb4 X'${Buffer.from(value).toString("hex")}'`;
}

function double(value: number): string {
  const digits = Object.is(value, -0) ? "-0" : String(value);
  return digits.includes("e") ? digits : `${digits}e0`;
}
