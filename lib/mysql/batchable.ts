/**
 * Texts that can share a round trip with others. Values of `{ sql, values }` are written into the text, if MariaDB takes that for
 * the same as the prepared statement.
 *
 * Tested on MariaDB 10.11: these literals have the type, the collation and the coercibility of a parameter, whether they are
 * stored, compared, or part of an expression. MySQL from 8.0.22 on derives the type of a parameter from its context, which no
 * literal does: https://dev.mysql.com/doc/refman/8.4/en/prepare.html.
 */
import type { Connection } from "mysql2";
import { productOf, stateOf } from "./connection-state.ts";
import { hexCharacter, withValues } from "./literal.ts";
import type { SqlValue } from "./values.ts";

/**
 * Returns true if a text can be one of several in a round trip: it is certainly one statement with one result. Its quotes are
 * closed. It has no backslash, and outside quotes no comment and no semicolon.
 */
export function isBatchable(text: string): boolean {
  return text.length <= longest && batchable.test(text) && plainText.test(text);
}

/** The most characters of a text in a batch. Longer texts gain nothing from sharing a round trip. */
const longest = 10_000;
const batchable = /^\s*(?:SELECT|INSERT|REPLACE|UPDATE|DELETE|DO)\b/i;
const plainText = /^(?:[^'"`;#\\/-]|-(?!-)|\/(?!\*)|'[^'\\]*'|"[^"\\]*"|`[^`]*`)*$/; // not over `longest`: V8 runs out of stack

/** Returns true if the server gives a parameter the type of its value, as it does for a literal, and the session uses UTF-8. */
export function takesLiterals(connection: Connection): boolean {
  return productOf(connection).isMariaDB && !stateOf(connection).needsUtf8;
}

/**
 * Returns the text with the values, for a batch. Returns undefined unless it certainly means the same as the prepared
 * statement. If the text succeeds, the prepared statement would have done the same. If it fails, that says nothing.
 */
export function inlineValues(sql: string, values: readonly SqlValue[]): string | undefined {
  if (!isBatchable(sql) || strange.test(sql) || !values.every(isAlike)) return undefined;
  const count = (sql.match(tokens) ?? []).filter((token) => token === "?").length;
  if (count !== values.length) return undefined;
  const text = withValues(sql, values, { takesDigits: () => false });
  return text.length <= longest ? text : undefined;
}

const quoted = "'[^']*'|\"[^\"]*\"|`[^`]*`";
const tokens = new RegExp(`${quoted}|\\?`, "g");
/** Placeholders at places where a literal is not allowed, or means something else, such as a part of a string or an alias. */
const strange = new RegExp(
  [
    "(?<![=<>(,+*/%-]\\s*|\\b(?:AND|OR|NOT|LIKE|BETWEEN|WHEN|THEN|ELSE|SELECT)\\s+)\\?",
    "\\?(?!\\s*(?:$|[),=<>+*/%-])|\\s+(?:AND|OR|WHERE|ORDER|LIMIT|WHEN|THEN|ELSE|END|AS|FROM|ON)\\b)",
  ].join("|"),
  "i",
);

/**
 * Returns true if the literal of a value is equivalent to the parameter. A text with a backslash or a control character is
 * not, because its literal has another collation. A Date is not, because it needs a time zone.
 */
function isAlike(value: SqlValue): boolean {
  if (typeof value === "string") return !hexCharacter.test(value);
  return !(typeof value === "object" && value !== null && !Buffer.isBuffer(value)) && !Object.is(value, -0);
}
