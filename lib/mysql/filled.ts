/**
 * The text of `{ sql, values }` with the values in it, where that means the same to a MariaDB as the prepared statement.
 *
 * Tried out on MariaDB 10.11: values as they are here have the type, the collation and the coercibility of a parameter, be they
 * stored, compared, or put into an expression. MySQL from 8.0.22 on gives a parameter the type of what stands around it, which no
 * literal has: https://dev.mysql.com/doc/refman/8.4/en/prepare.html.
 */
import type { Connection } from "mysql2";
import { hexCharacter, withValues } from "./literal.ts";
import { needsUtf8 } from "./server-state.ts";
import { canShare, longest } from "./statement.ts";
import type { SqlValue } from "./values.ts";

/** Whether the server takes a parameter for what its value is, as it takes a literal, and both for UTF-8. */
export function takesLiterals(connection: Connection): boolean {
  return (connection as { _isMariaDB?: boolean })._isMariaDB === true && !needsUtf8(connection);
}

/**
 * The text with the values, which can share a round trip; undefined where that may mean anything else, or is not known to mean
 * the same. What such a text succeeds with is what the prepared statement does; its error tells nothing.
 */
export function filled(sql: string, values: readonly SqlValue[]): string | undefined {
  if (!canShare(sql) || strange.test(sql) || !values.every(isAlike)) return undefined;
  const count = (sql.match(tokens) ?? []).filter((token) => token === "?").length;
  if (count !== values.length) return undefined;
  const text = withValues(sql, values, { takesDigits: () => false });
  return text.length <= longest ? text : undefined;
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

/** Whether the literal is all that the parameter is: with a backslash it has another collation, and a Date needs a time zone. */
function isAlike(value: SqlValue): boolean {
  if (typeof value === "string") return !hexCharacter.test(value);
  return !(typeof value === "object" && value !== null && !Buffer.isBuffer(value)) && !Object.is(value, -0);
}
