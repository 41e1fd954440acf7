/** The text of a query with its values in it, for ways of sending that have no parameters. */
import mysql from "mysql2";
import { valuesOf } from "../shared/query.ts";
import { dateText, type SqlValue } from "./values.ts";

export interface LiteralOptions {
  /**
   * Returns true if an integer at this place is written as its digits. Other numbers get an exponent, which makes them the DOUBLE
   * that they are as parameters. @default true for integers that SQL prints alike in both forms
   */
  readonly takesDigits?: (index: number, value: number) => boolean;
  /** mysql2's: `local`, `Z` or `+02:00`. @default "local" */
  readonly timezone?: string | undefined;
}

/**
 * Puts the values into the text. They mean the same in every `sql_mode`, and the same as the parameters of a prepared statement.
 * Placeholders without a value stay as they are.
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
export function filledIn({ sql, values }: { sql: string; values?: unknown }, timezone?: string): string {
  return values === undefined ? sql : withValues(sql, valuesOf({ sql, values: values as unknown[] }), { timezone });
}

const limit = /\b(?:LIMIT|OFFSET)\s+(?:\S+\s*,\s*)?$/i;

/** A LIMIT in a text takes nothing but digits. As a parameter it may be any number, or a string of digits. */
function digitsOf(value: SqlValue): string {
  const isDigits = typeof value === "string" ? /^\d+$/.test(value) : typeof value === "bigint";
  return isDigits ? String(value) : literalOf(value, true);
}

/** From 1e15 on, SQL prints a DOUBLE with an exponent. */
function isPrintedAlike(_: number, value: number): boolean {
  return Number.isInteger(value) && Math.abs(value) < 1e15 && !Object.is(value, -0);
}

/** Characters because of which a text is written as hexadecimal digits. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it looks for
export const hexCharacter = /[\\\0-\x08\x0b-\x1f]/;

function literalOf(value: SqlValue, asDigits: boolean, timezone?: string): string {
  if (value === null) return "NULL";
  if (typeof value === "boolean") return value ? "1" : "0"; // TRUE would be another JSON
  if (typeof value === "bigint") return value === BigInt.asIntN(64, value) ? String(value) : `${value}.`; // a DECIMAL
  if (typeof value === "number") return asDigits && Number.isSafeInteger(value) ? String(value) : double(value);
  if (typeof value === "object") {
    return Buffer.isBuffer(value) ? `_binary X'${value.toString("hex")}'` : `TIMESTAMP'${dateText(value, timezone)}'`; // X'31' alone may be a number
  }
  // Whether a backslash escapes depends on NO_BACKSLASH_ESCAPES; two quotes are one in every mode.
  if (!hexCharacter.test(value)) return `'${value.replaceAll("'", "''")}'`;
  return `_utf8mb4 X'${Buffer.from(value).toString("hex")}'`;
}

function double(value: number): string {
  const digits = Object.is(value, -0) ? "-0" : String(value);
  return digits.includes("e") ? digits : `${digits}e0`;
}

/** Takes apart `table` or `database.table`, of which one that has a dot or a backtick in it is quoted as in SQL. */
export function splitName(name: string): { readonly database: string | undefined; readonly table: string } | undefined {
  const [, database, table] = /^(?:(`(?:[^`]|``)+`|[^`.]+)\.)?(`(?:[^`]|``)+`|[^`.]+)$/.exec(name) ?? [];
  return table === undefined ? undefined : { database: database && unquoted(database), table: unquoted(table) };
}

/** A name as SQL. */
export function quoted(name: string): string {
  return `\`${name.replaceAll("`", "``")}\``;
}

function unquoted(name: string): string {
  return name.startsWith("`") ? name.slice(1, -1).replaceAll("``", "`") : name;
}
