/** What a query is, as far as its text tells. */

/**
 * Whether a text is one statement with one result, wherever the server's lexer begins: a plain statement whose quotes are
 * closed, without backslashes in them, without comments and without a semicolon. Any other goes alone.
 */
export function canShare(unit: unknown): unit is string | { sql: string } {
  const sql = textOf(unit);
  return sql !== undefined && sql.length <= longest && statement.test(sql) && plainText.test(sql);
}

/** Longer texts gain nothing from sharing a round trip. */
const longest = 10_000;
const statement = /^\s*(?:SELECT|INSERT|REPLACE|UPDATE|DELETE|DO)\b/i;
const plainText = /^(?:[^'"`;#\\/-]|-(?!-)|\/(?!\*)|'[^'\\]*'|"[^"\\]*"|`[^`]*`)*$/;

/** The text of a query without values. */
export function textOf(unit: unknown): string | undefined {
  if (typeof unit === "string") return unit;
  const { sql, values } = unit as { sql?: unknown; values?: unknown };
  return typeof sql === "string" && values === undefined ? sql : undefined;
}

/** Whether a query certainly leaves the transaction open that it runs in. Of others, such as DDL and CALL, some commit it. */
export function keepsTransaction(unit: unknown): boolean {
  return keeping.test(sqlOf(unit));
}

/** The statement of a query that begins or ends transactions or locks, such as `COMMIT`. */
export function transactionControl(unit: unknown): string | undefined {
  return control.exec(sqlOf(unit))?.[1]?.replace(/\s+/g, " ").toUpperCase();
}

/** Blanks and comments, except those that the server executes. */
const before = "^(?:\\s|(?:#|--(?=\\s))[^\\n]*\\n|/\\*(?!M?!)(?:[^*]|\\*(?!/))*\\*/)*";
const keeping = new RegExp(`${before}(?:SELECT|INSERT|REPLACE|UPDATE|DELETE|DO|WITH|VALUES)\\b`, "i");
const control = new RegExp(
  `${before}(BEGIN(?!\\s+NOT\\b)|START\\s+TRANSACTION|COMMIT|ROLLBACK|(?:RELEASE\\s+)?SAVEPOINT|XA|(?:UN)?LOCK\\s+TABLES?)\\b`,
  "i",
);

function sqlOf(unit: unknown): string {
  return typeof unit === "string" ? unit : String((unit as { sql?: unknown } | null)?.sql);
}
