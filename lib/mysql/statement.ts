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

/**
 * Whether the server applies a query as a whole or not at all. Of CALL and other compound statements, each inner statement
 * commits by itself.
 */
export function isAtomic(unit: unknown): boolean {
  return atomic.test(sqlOf(unit));
}

/**
 * Names a statement that means something to its connection only, by its first words in upper case, such as `SET` or
 * `LOCK TABLES`; undefined for any other. It may be conditional: `/*!40101 SET …`.
 */
export function sessionStatement(unit: unknown): string | undefined {
  return session.exec(sqlOf(unit))?.[1]?.replace(/\s+/g, " ").toUpperCase();
}

/** Names a statement whose effect is lost with its connection, transactions left aside; undefined for any other. */
export function lastingStatement(unit: unknown): string | undefined {
  const statement = sessionStatement(unit);
  return statement && !/^(?:BEGIN|START|COMMIT|ROLLBACK|RELEASE|SAVEPOINT|XA|UNLOCK)/.test(statement)
    ? statement
    : undefined;
}

/** Names a statement that begins or ends transactions or locks, such as `COMMIT`; undefined for any other. */
export function transactionControl(unit: unknown): string | undefined {
  const statement = sessionStatement(unit);
  return statement && /^(?:BEGIN|START|COMMIT|ROLLBACK|RELEASE|SAVEPOINT|XA|(?:UN)?LOCK|FLUSH|BACKUP)/.test(statement)
    ? statement
    : undefined;
}

/** Blanks and comments, except those that the server executes. */
const before = "^(?:\\s|(?:#|--(?=\\s))[^\\n]*\\n|/\\*(?!M?!)(?:[^*]|\\*(?!/))*\\*/)*";
const queries = "SELECT|INSERT|REPLACE|UPDATE|DELETE|DO|WITH|VALUES";
const keeping = new RegExp(`${before}(?:${queries})\\b`, "i");
const atomic = new RegExp(
  `${before}\\(*\\s*(?:${queries}|ALTER|ANALYZE|CREATE|DROP|LOAD|OPTIMIZE|RENAME|SET|SHOW|TRUNCATE|USE)\\b`,
  "i",
);
const session = new RegExp(
  `${before}(?:/\\*M?!\\d*\\s*)?(${[
    "USE",
    "SET(?!\\s+(?:(?:@@)?(?:GLOBAL|PERSIST|PERSIST_ONLY)|PASSWORD|DEFAULT\\s+ROLE|STATEMENT)\\b)",
    "BEGIN(?!\\s+NOT\\b)|START\\s+TRANSACTION|COMMIT|ROLLBACK|(?:RELEASE\\s+)?SAVEPOINT|XA",
    "(?:UN)?LOCK\\s+(?:TABLES?|INSTANCE)|FLUSH\\s+TABLES?\\s+WITH\\s+READ\\s+LOCK|BACKUP\\s+(?:STAGE|(?:UN)?LOCK)",
    "(?:CREATE(?:\\s+OR\\s+REPLACE)?|DROP)\\s+TEMPORARY\\s+\\w+|HANDLER",
    "PREPARE|EXECUTE(?!\\s+IMMEDIATE\\b)|(?:DEALLOCATE|DROP)\\s+PREPARE",
  ].join("|")})\\b`,
  "i",
);

function sqlOf(unit: unknown): string {
  return typeof unit === "string" ? unit : String((unit as { sql?: unknown } | null)?.sql);
}
