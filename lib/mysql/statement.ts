/** What a statement is, as far as its text tells: one table, every row with its source. */
import { hasSeveral, Lexer, type Token } from "./lexer.ts";

export interface Statement {
  /** Its first words in upper case, such as `LOCK TABLES`. */
  readonly name: string;
  /** What becomes of a transaction that is open. */
  readonly transaction: Effect;
  /** The server applies it as a whole or not at all. Of CALL and other compound statements, each inner one commits by itself. */
  readonly isAtomic: boolean;
  /** It means something to its connection only. */
  readonly session: Scope | undefined;
  /** Of a savepoint its name, in lower case; of an XA transaction its identifier. */
  readonly target: string | undefined;
}

/**
 * - `stays`: it stays open, unless the server rolls it back.
 * - `commits`: it is committed before the statement runs, whatever becomes of that.
 * - `mayCommit`: the same, unless it is still open afterwards.
 * - `rollsBack`, `rollsBackTo` a savepoint, `prepares` it for an XA COMMIT by anyone.
 * - `unsure`: nobody can tell from the text.
 */
export type Effect = "stays" | "commits" | "mayCommit" | "rollsBack" | "rollsBackTo" | "prepares" | "unsure";

/**
 * - `repeatable`: it can stand at the top of an input, and be run again on every connection.
 * - `lasting`: its effect ends with its connection.
 * - `passing`: it is about a transaction or about locks.
 */
export type Scope = "repeatable" | "lasting" | "passing";

type Row = readonly [words: RegExp, transaction: Effect, isAtomic?: "atomic" | "", session?: Scope];

/**
 * By the first words, which have one space between them and no comments; the first row that matches counts.
 *
 * What commits is what MySQL's manual lists in "Statements That Cause an Implicit Commit" and MariaDB's in "SQL statements That
 * Cause an Implicit Commit"; what one of them leaves open may commit.
 */
const table: readonly Row[] = [
  [/^(?:\( )*(?:SELECT|INSERT|REPLACE|UPDATE|DELETE|DO|WITH|VALUES|TABLE|SHOW)\b/, "stays", "atomic"],
  [/^(?:EXPLAIN|DESCRIBE|DESC|HELP|CHECKSUM|SIGNAL|RESIGNAL|GET)\b/, "stays"],
  [/^LOAD (?:DATA|XML)\b/, "mayCommit", "atomic"], // NDB
  [/^USE\b/, "stays", "atomic", "repeatable"],
  // Transactions and savepoints
  [/^BEGIN NOT\b/, "unsure"],
  [/^(?:BEGIN|START TRANSACTION|COMMIT)\b/, "commits", "", "passing"],
  [/^ROLLBACK(?: WORK)? TO\b(?: SAVEPOINT\b)?/, "rollsBackTo", "", "passing"],
  [/^ROLLBACK\b/, "rollsBack", "", "passing"],
  [/^(?:RELEASE )?SAVEPOINT\b/, "stays", "", "passing"],
  [/^XA COMMIT\b/, "commits", "", "passing"],
  [/^XA ROLLBACK\b/, "rollsBack", "", "passing"],
  [/^XA PREPARE\b/, "prepares", "", "passing"],
  [/^XA\b/, "stays", "", "passing"],
  // Locks
  [/^LOCK TABLES?\b/, "commits", "", "lasting"],
  [/^UNLOCK TABLES?\b/, "mayCommit", "", "passing"], // if there are any locked
  [/^(?:LOCK (?:INSTANCE|BINLOG)|BACKUP (?:STAGE|LOCK))\b/, "mayCommit", "", "lasting"],
  [/^(?:UNLOCK (?:INSTANCE|BINLOG)|BACKUP UNLOCK)\b/, "mayCommit", "", "passing"],
  [/^FLUSH (?:(?:LOCAL|NO_WRITE_TO_BINLOG) )?TABLES?\b.* (?:WITH READ LOCK|FOR EXPORT)\b/, "commits", "", "lasting"],
  // What a connection has
  [/^(?:CREATE(?: OR REPLACE)?|DROP) TEMPORARY \w+/, "stays", "atomic", "lasting"],
  [/^HANDLER\b/, "stays", "", "lasting"],
  [/^(?:PREPARE|(?:DEALLOCATE|DROP) PREPARE)\b/, "stays", "", "lasting"],
  [/^EXECUTE IMMEDIATE\b/, "unsure"],
  [/^(?:EXECUTE|BINLOG)\b/, "unsure", "", "lasting"],
  // Definitions, accounts and administration
  [/^(?:CREATE|ALTER|DROP) (?:INSTANCE|LOGFILE|RESOURCE)\b/, "mayCommit", "atomic"],
  [/^(?:CREATE|ALTER|DROP|RENAME|TRUNCATE|OPTIMIZE)\b/, "commits", "atomic"],
  [/^ANALYZE (?:(?:LOCAL|NO_WRITE_TO_BINLOG) )?TABLES?\b/, "commits", "atomic"],
  [/^ANALYZE\b/, "stays", "atomic"], // MariaDB's, of another statement
  [/^(?:GRANT|REVOKE|SET PASSWORD|CHECK|REPAIR|FLUSH)\b/, "commits"],
  [/^(?:CACHE INDEX|LOAD INDEX|INSTALL|UNINSTALL|RESET)\b/, "mayCommit"],
  [/^(?:START|STOP) (?:ALL )?(?:SLAVES?|REPLICAS?|GROUP_REPLICATION)\b|^CHANGE\b/, "mayCommit"],
  [/^SET (?:DEFAULT ROLE|STATEMENT)\b/, "mayCommit", "atomic"],
  [/^SET\b/, "stays", "atomic", "repeatable"],
  [/^/, "unsure"],
];

/** What the first words of a text tell of it: of several statements, of the first one and of what all of them may do. */
export function statementIn(text: string): Statement {
  let first: Statement | undefined;
  /** The first statement whose effect outlives the text, and is not only that of a transaction. */
  let lasting: Statement | undefined;
  let [stay, areRepeatable] = [true, true];
  for (const tokens of statementsIn(text)) {
    const statement = statementOf(tokens);
    stay &&= statement.transaction === "stays";
    areRepeatable &&= statement.session === "repeatable";
    if (first === undefined) {
      if (!hasSeveral(text) || routine.test(headOf(tokens))) return statement;
      first = statement;
    }
    // A variable that is set for the rest of its own text means nothing to others: those that read it see `variables.ts`.
    const isForItself = statement.name === "SET" && assignmentsIn(tokens).every(({ name }) => /^@(?!@)/.test(name));
    if (statement.session && statement.session !== "passing" && !isForItself) lasting ??= statement;
  }
  if (first === undefined) return statementOf([]);
  const transaction = stay ? "stays" : "unsure";
  if (areRepeatable) return { ...first, transaction };
  if (lasting) return { ...first, name: lasting.name, transaction, session: "lasting" };
  return { ...first, transaction, session: first.session === "passing" ? "passing" : undefined };
}

/** Whether a statement certainly leaves the transaction open that it runs in. Of others, such as DDL and CALL, some commit it. */
export function keepsTransaction(text: string): boolean {
  plain.lastIndex = 0;
  return (plain.test(text) && !hasSeveral(text)) || statementIn(text).transaction === "stays";
}

/** Whether a text is one statement that changes nothing, unless a function that it calls does. */
export function onlyReads(text: string): boolean {
  const { name, transaction } = statementIn(text);
  return (
    transaction === "stays" &&
    /^(?:\( )*(?:SELECT|VALUES|TABLE|WITH|DO|SHOW)$/.test(name) &&
    !hasSeveral(text) &&
    !(name.endsWith("WITH") && /\b(?:UPDATE|DELETE)\b/i.test(text))
  );
}

/** Describes a statement that means something to its connection only, such as `SET` or `LOCK TABLES`; undefined for any other. */
export function sessionStatement(text: string): (Pick<Statement, "name"> & { readonly session: Scope }) | undefined {
  sessionless.lastIndex = 0;
  if (!sessionless.test(text) || (text.includes(";") && hasSeveral(text))) {
    const { name, session } = statementIn(text);
    if (session) return { name, session };
  }
  return locking.test(text) ? userLock(text) : undefined;
}

/** Nearly all of a batch. */
const plain = /[\t-\r (]*(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|DO)\b/iy;
const sessionless = /[\t-\r (]*(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|DO|CALL|WITH|LOAD|ALTER)\b/iy;
const locking = /(?:GET|RELEASE|ALL)_LOCK/i;

/** A lock of `GET_LOCK()` that a text leaves to others, or that it releases for others. */
function userLock(text: string): { readonly name: string; readonly session: Scope } | undefined {
  const called = new Set<string>();
  const lexer = new Lexer(text);
  let last = lexer.next();
  if (last?.text === "CREATE") return undefined; // what it makes is run later
  for (let token = lexer.next(); token; last = token, token = lexer.next()) {
    if (token.text === "(" && last?.kind === "word") called.add(last.text);
  }
  const isReleased = called.has("RELEASE_LOCK") || called.has("RELEASE_ALL_LOCKS");
  if (called.has("GET_LOCK") === isReleased) return undefined;
  return isReleased ? { name: "RELEASE_LOCK()", session: "passing" } : { name: "GET_LOCK()", session: "lasting" };
}

/** How many tokens of a statement are looked at. */
const most = 200;
/** Statements that have others inside. */
const routine =
  /^CREATE (?:OR REPLACE )?(?:DEFINER = .* )?(?:AGGREGATE )?(?:PROCEDURE|FUNCTION|TRIGGER|EVENT|PACKAGE)\b/;

/** The first tokens of each statement in a text. */
function* statementsIn(text: string): Generator<readonly Token[]> {
  let tokens: Token[] = [];
  const lexer = new Lexer(text);
  const isOne = !hasSeveral(text);
  for (let token = lexer.next(); token && !(isOne && tokens.length === most); token = lexer.next()) {
    if (token.kind !== "symbol" || token.text !== ";") {
      if (tokens.length < most) tokens.push(token);
      continue;
    }
    if (tokens.length > 0) yield tokens;
    tokens = [];
  }
  if (tokens.length > 0) yield tokens;
}

function headOf(tokens: readonly Token[]): string {
  return tokens.map(({ kind, text }) => (kind === "name" || kind === "string" ? "`" : text)).join(" ");
}

function statementOf(tokens: readonly Token[]): Statement {
  const head = headOf(tokens);
  const [words, transaction, isAtomic, session] = table.find(([words]) => words.test(head))!;
  const name = words.exec(head)![0].replace(/(?<=^FLUSH .*TABLES?) .* (?=WITH|FOR)/, " ");
  const isConditional = tokens.slice(0, 3).some((token) => token.isConditional);
  const inner = innerOf(name, tokens);
  if (inner) return isConditional ? { ...inner, transaction: conditional(inner.transaction, tokens) } : inner;
  const assignments = name === "SET" ? assignmentsIn(tokens) : [];
  const isLocal = name !== "SET" || assignments.some(({ isGlobal }) => !isGlobal);
  const mayCommit = assignments.some(
    ({ name, isGlobal }) => !isGlobal && /^(?:@@(?:session\.|local\.)?)?autocommit$/i.test(name),
  );
  const effect = mayCommit ? "mayCommit" : transaction;
  return {
    name,
    transaction: isConditional ? conditional(effect, tokens) : effect,
    isAtomic: isAtomic === "atomic" && !isConditional,
    session: isLocal ? session : undefined,
    target: targetOf(name, tokens),
  };
}

/** The statement in another one, where that is as it stands. */
function innerOf(name: string, tokens: readonly Token[]): Statement | undefined {
  if (name === "EXECUTE IMMEDIATE" && tokens[2]?.kind === "string") return statementIn(tokens[2].text);
  const at = name === "SET STATEMENT" ? tokens.findIndex(({ text }) => text === "FOR") : -1;
  return at < 0 ? undefined : statementOf(tokens.slice(at + 1));
}

/** The effect of a statement that begins in a comment which not all servers execute: to the others it is another one, or none. */
function conditional(effect: Effect, tokens: readonly Token[]): Effect {
  const isAll = tokens.every(({ isConditional }) => isConditional);
  return (isAll && effect !== "commits") || effect === "mayCommit" ? effect : "unsure";
}

/** What a SET sets. A word such as GLOBAL is for what comes after it, too. */
function assignmentsIn(tokens: readonly Token[]) {
  const assignments: { readonly name: string; readonly isGlobal: boolean }[] = [];
  let [isScopeGlobal, isNext, depth] = [false, true, 0];
  for (const { kind, text } of tokens.slice(1)) {
    if (isNext && kind === "word" && /^(?:GLOBAL|PERSIST|PERSIST_ONLY|SESSION|LOCAL)$/.test(text)) {
      isScopeGlobal = /^[GP]/.test(text);
      continue;
    }
    const isGlobal = kind === "variable" ? /^@@(?:global|persist|persist_only)\./.test(text) : isScopeGlobal;
    if (isNext) assignments.push({ name: text, isGlobal });
    if (kind === "symbol") depth += text === "(" ? 1 : text === ")" ? -1 : 0;
    isNext = kind === "symbol" && text === "," && depth === 0;
  }
  return assignments;
}

function targetOf(name: string, tokens: readonly Token[]): string | undefined {
  if (/SAVEPOINT$|TO$/.test(name)) return tokens[name.split(" ").length]?.text.toLowerCase();
  if (!/^XA /.test(name)) return undefined;
  return tokens
    .slice(2)
    .filter(({ kind, text }) => kind === "string" || /^(?:,|X|0X.*|\d+)$/.test(text))
    .map(({ text }) => text)
    .join(" ");
}

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
const plainText = /^(?:[^'"`;#\\/-]|-(?!-)|\/(?!\*)|'[^'\\]*'|"[^"\\]*"|`[^`]*`)*$/; // not over `longest`: V8 runs out of stack
