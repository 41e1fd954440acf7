/**
 * The text of `{ sql, values }` with the values in it, where that means the same to a MariaDB as the prepared statement.
 *
 * Tried out on MariaDB 10.11: values as they are here have the type, the collation and the coercibility of a parameter, be they
 * stored, compared, or put into an expression. A date differs in its microseconds. MySQL from 8.0.22 on gives a parameter the
 * type of what stands around it, which no literal has: https://dev.mysql.com/doc/refman/8.4/en/prepare.html.
 */
import type { Connection } from "mysql2";
import { needsUtf8 } from "./server-state.ts";
import { canShare, longest } from "./statement.ts";

/** Whether the server takes a parameter for what its value is, as it takes a literal, and both for UTF-8. */
export function takesLiterals(connection: Connection): boolean {
  return (connection as { _isMariaDB?: boolean })._isMariaDB === true && !needsUtf8(connection);
}

/**
 * The text with the values, which can share a round trip; undefined where that may mean anything else, or is not known to mean
 * the same. What such a text succeeds with is what the prepared statement does; its error tells nothing: `LIMIT` takes no 1e0.
 */
export function filled(sql: string, values: readonly unknown[]): string | undefined {
  if (!canShare(sql) || strange.test(sql)) return undefined;
  const literals = values.map(literalOf);
  if (literals.includes(undefined)) return undefined;
  let count = 0;
  const text = sql.replace(tokens, (token) => (token === "?" ? ` ${literals[count++]} ` : token));
  return count === values.length && text.length <= longest ? text : undefined;
}

const quoted = "'[^']*'|\"[^\"]*\"|`[^`]*`";
const tokens = new RegExp(`${quoted}|\\?`, "g");
/** A placeholder where no literal may stand, or a literal would be something else, such as a part of a string or an alias. */
const strange = new RegExp(
  [
    "(?<![=<>(,+*/%-]\\s*|\\b(?:AND|OR|NOT|LIKE|BETWEEN|WHEN|THEN|ELSE|SELECT)\\s+)\\?",
    "\\?(?!\\s*(?:$|[),=<>+*/%-])|\\s+(?:AND|OR|WHERE|ORDER|LIMIT|WHEN|THEN|ELSE|END|AS|FROM|ON)\\b)",
  ].join("|"),
  "i",
);

function literalOf(value: unknown): string | undefined {
  if (value === null) return "NULL";
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value === "bigint") return `'${value}'`; // mysql2 sends its digits as a string
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0) ? real(value) : undefined;
  if (Buffer.isBuffer(value)) return `_binary X'${value.toString("hex")}'`; // X'31' alone may be a number
  // What a backslash means depends on NO_BACKSLASH_ESCAPES.
  if (typeof value === "string" && !value.includes("\\")) return `'${value.replaceAll("'", "''")}'`;
  return undefined;
}

/** mysql2 sends a number as a DOUBLE, which a literal is by its exponent. */
function real(value: number): string {
  const digits = String(value);
  return digits.includes("e") ? digits : `${digits}e0`;
}
