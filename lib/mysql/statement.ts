/**
 * What a statement is, as far as its text tells.
 *
 * A text may have any length, and be the Latin-1 view of bytes in any character set that the server takes statements in. So
 * nothing here is a pattern over the whole of it with alternatives inside a repetition: V8 runs out of stack on these.
 */

/**
 * Whether a text is one statement with one result, wherever the server's lexer begins: a plain statement whose quotes are
 * closed, without backslashes in them, without comments and without a semicolon. Any other goes alone.
 */
export function canShare(text: string): boolean {
  return text.length <= longest && shareable.test(text) && plainText.test(text);
}

/** Characters. Longer texts gain nothing from sharing a round trip. */
export const longest = 10_000;
const shareable = /^\s*(?:SELECT|INSERT|REPLACE|UPDATE|DELETE|DO)\b/i;
const plainText = /^(?:[^'"`;#\\/-]|-(?!-)|\/(?!\*)|'[^'\\]*'|"[^"\\]*"|`[^`]*`)*$/; // not over `longest`, see above

/** Whether a statement certainly leaves the transaction open that it runs in. Of others, such as DDL and CALL, some commit it. */
export function keepsTransaction(text: string): boolean {
  return matchAt(keeping, text, beginningOf(text)) !== undefined;
}

/**
 * Whether the server applies a statement as a whole or not at all. Of CALL and other compound statements, each inner statement
 * commits by itself.
 */
export function isAtomic(text: string): boolean {
  return matchAt(atomic, text, beginningOf(text)) !== undefined;
}

/** Whether a text is one statement that changes nothing, unless a function that it calls does. */
export function onlyReads(text: string): boolean {
  const statement = matchAt(reading, text, beginningOf(text));
  return (
    statement !== undefined && !text.includes(";") && !(/^WITH/i.test(statement) && /\b(?:UPDATE|DELETE)\b/i.test(text))
  );
}

/**
 * Names a statement that means something to its connection only, by its first words in upper case, such as `SET` or
 * `LOCK TABLES`; undefined for any other. It may be conditional: `/*!40101 SET …`.
 */
export function sessionStatement(text: string): string | undefined {
  plain.lastIndex = 0;
  if (plain.test(text)) return undefined; // nearly all of a batch
  return matchAt(session, text, beginningOf(text))?.replace(/\s+/g, " ").toUpperCase();
}

/** Whether a session statement can stand at the top of an input and be run again on every connection: `USE` and `SET`. */
export function isRepeatable(statement: string): boolean {
  return statement === "USE" || statement === "SET";
}

/** Whether the effect of a session statement ends with its connection, and is not only that of a transaction or of locks. */
export function isLasting(statement: string): boolean {
  return !/^(?:BEGIN|START|COMMIT|ROLLBACK|RELEASE|SAVEPOINT|XA|UNLOCK)/.test(statement);
}

/** The name of the savepoint to which a statement goes back; undefined for any other, such as a whole ROLLBACK. */
export function rollbackTarget(text: string): string | undefined {
  return nameIn(rollbackTo, text);
}

/** The name of the savepoint that a statement sets; undefined for any other. */
export function savepointName(text: string): string | undefined {
  return nameIn(savepoint, text);
}

function nameIn(pattern: RegExp, text: string): string | undefined {
  return matchAt(pattern, text, beginningOf(text))
    ?.replace(/^`(.*)`$/s, "$1")
    .toLowerCase();
}

const name = "(`[^`]*`|[^\\s;]+)";
const rollbackTo = new RegExp(`ROLLBACK(?:\\s+WORK)?\\s+TO\\s+(?:SAVEPOINT\\s+)?${name}`, "iy");
const savepoint = new RegExp(`SAVEPOINT\\s+${name}`, "iy");

const queries = "SELECT|INSERT|REPLACE|UPDATE|DELETE|DO|WITH|VALUES";
const reading = /\(*\s*((?:SELECT|VALUES|TABLE|WITH|DO|SHOW)\b)/iy;
const keeping = new RegExp(`(?:${queries})\\b`, "iy");
const atomic = new RegExp(
  `\\(*\\s*(?:${queries}|ALTER|ANALYZE|CREATE|DROP|LOAD|OPTIMIZE|RENAME|SET|SHOW|TRUNCATE|USE)\\b`,
  "iy",
);
const plain = /(?:SELECT|INSERT|UPDATE|DELETE|REPLACE)\b/iy;
const session = new RegExp(
  `(?:/\\*M?!\\d*\\s*)?(${[
    "USE",
    "SET(?!\\s+(?:(?:@@)?(?:GLOBAL|PERSIST|PERSIST_ONLY)|PASSWORD|DEFAULT\\s+ROLE|STATEMENT)\\b)",
    "BEGIN(?!\\s+NOT\\b)|START\\s+TRANSACTION|COMMIT|ROLLBACK|(?:RELEASE\\s+)?SAVEPOINT|XA",
    "(?:UN)?LOCK\\s+(?:TABLES?|INSTANCE)|FLUSH\\s+TABLES?\\s+WITH\\s+READ\\s+LOCK|BACKUP\\s+(?:STAGE|(?:UN)?LOCK)",
    "(?:CREATE(?:\\s+OR\\s+REPLACE)?|DROP)\\s+TEMPORARY\\s+\\w+|HANDLER",
    "PREPARE|EXECUTE(?!\\s+IMMEDIATE\\b)|(?:DEALLOCATE|DROP)\\s+PREPARE",
  ].join("|")})\\b`,
  "iy",
);

/** Where a statement begins: behind blanks and comments, except those that the server executes. */
function beginningOf(text: string): number {
  for (let at = 0; ; ) {
    at = endOf(blanks, text, at);
    let end: number;
    if (endOf(lineComment, text, at) > at) end = text.indexOf("\n", at) + 1;
    else if (endOf(blockComment, text, at) > at) end = text.indexOf("*/", at + 2) + 2;
    else return at;
    if (end <= at) return text.length; // a comment without an end
    at = end;
  }
}

const blanks = /\s*/y;
const lineComment = /#|--(?=\s)/y;
const blockComment = /\/\*(?!M?!)/y;

/** The last group of a pattern that matches at a place, or all of the match. */
function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  const match = pattern.exec(text);
  return match?.[1] ?? match?.[0];
}

function endOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}
