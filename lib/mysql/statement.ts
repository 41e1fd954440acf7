/** Classifies statements by their text: one table of first words. */
import { hasSeveral, Lexer, type Token } from "./lexer.ts";
import { declaredIn, headOf, statementsIn } from "./split.ts";

export interface Statement {
  /** First words in upper case, such as `LOCK TABLES`. */
  readonly name: string;
  /** Effect on an open transaction. */
  readonly transaction: Effect;
  /** True if the server applies all of it or nothing. In compound ones such as CALL, each inner statement commits by itself. */
  readonly isAtomic: boolean;
  /** Set for a statement that changes its connection, such as `SET`. */
  readonly session: Scope | undefined;
  /** Name of a savepoint in lower case, or identifier of an XA transaction. */
  readonly target: string | undefined;
}

/**
 * Effect of a statement on an open transaction.
 * - `stays`: it stays open, unless the server rolls it back because of an error.
 * - `commits`: it is committed before the statement runs, even if the statement fails.
 * - `mayCommit`: as `commits`, unless the transaction is still open afterwards.
 * - `rollsBack`, `rollsBackTo` a savepoint, `prepares` for an XA COMMIT from any connection.
 * - `unsure`: the text does not tell.
 */
export type Effect = "stays" | "commits" | "mayCommit" | "rollsBack" | "rollsBackTo" | "prepares" | "unsure";

/**
 * Kind of change to the connection.
 * - `repeatable`: if it is at the top of an input, every connection can run it.
 * - `lasting`: a lost connection loses its effect.
 * - `passing`: it concerns only a transaction or locks.
 */
export type Scope = "repeatable" | "lasting" | "passing";

type Row = readonly [words: RegExp, transaction: Effect, isAtomic?: "atomic" | "", session?: Scope];

/**
 * Statements by their first words, with single spaces and without comments. The first row that matches counts.
 * Sources of `commits`: "Statements That Cause an Implicit Commit" in MySQL's manual and "SQL statements That Cause an Implicit
 * Commit" in MariaDB's. A statement is `mayCommit` if one of the servers leaves the transaction open.
 */
const table: readonly Row[] = [
  [/^(?:\( )*(?:SELECT|INSERT|REPLACE|UPDATE|DELETE|DO|WITH|VALUES|TABLE|SHOW)\b/, "stays", "atomic"],
  [/^(?:EXPLAIN|DESCRIBE|DESC|HELP|CHECKSUM|SIGNAL|RESIGNAL|GET|KILL|PURGE)\b/, "stays"],
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
  [/^CREATE(?: OR REPLACE)? TEMPORARY SEQUENCE\b/, "mayCommit", "", "lasting"],
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
  [/^(?:GRANT|REVOKE|SET PASSWORD|CHECK|REPAIR|FLUSH|IMPORT TABLE)\b/, "commits"],
  [/^(?:CACHE INDEX|LOAD INDEX|INSTALL|UNINSTALL|RESET|CLONE|RESTART|SHUTDOWN)\b/, "mayCommit"],
  [/^(?:START|STOP) (?:ALL )?(?:SLAVES?|REPLICAS?|GROUP_REPLICATION)\b|^CHANGE\b/, "mayCommit"],
  [/^SET (?:DEFAULT ROLE|STATEMENT)\b/, "mayCommit", "atomic"],
  [/^SET\b/, "stays", "atomic", "repeatable"],
  [/^/, "unsure"],
];

/** Classifies a text. If it has several statements, the name is of the first one, and the effect is of all of them together. */
export function statementIn(text: string): Statement {
  let first: Statement | undefined;
  /** The first statement that changes the connection for longer than this text, except for transactions and locks. */
  let lasting: Statement | undefined;
  let [stay, areRepeatable] = [true, true];
  /** Names of local variables of a compound statement, in upper case. */
  const declared = new Set<string>();
  for (const tokens of statementsIn(text)) {
    const statement = statementOf(tokens);
    stay &&= statement.transaction === "stays";
    areRepeatable &&= statement.session === "repeatable";
    const isRoutine = routine.test(headOf(tokens));
    if (first === undefined) {
      if (!hasSeveral(text) || isRoutine) return statement;
      first = statement;
    }
    for (const name of declaredIn(tokens)) declared.add(name);
    // User variables do not count here: `variables.ts` finds the queries that read them.
    const isOwn = (name: string) => /^@(?!@)/.test(name) || declared.has(name.toUpperCase());
    const isForItself = statement.name === "SET" && assignmentsIn(tokens).every(({ name }) => isOwn(name));
    if (statement.session && statement.session !== "passing" && !isForItself) lasting ??= statement;
    if (isRoutine) break; // the rest is its body, which runs later
  }
  if (first === undefined) return statementOf([]);
  const transaction = stay ? "stays" : "unsure";
  if (areRepeatable) return { ...first, transaction };
  if (lasting) return { ...first, name: lasting.name, transaction, session: "lasting" };
  return { ...first, transaction, session: undefined };
}

/** Returns true if a text certainly leaves its transaction open. Others, such as DDL and CALL, may commit it. */
export function keepsTransaction(text: string): boolean {
  plain.lastIndex = 0;
  return (plain.test(text) && !hasSeveral(text)) || statementIn(text).transaction === "stays";
}

/** Returns true if a text is one statement that changes nothing, except through a function that it calls. */
export function onlyReads(text: string): boolean {
  const { name, transaction } = statementIn(text);
  return (
    transaction === "stays" &&
    /^(?:\( )*(?:SELECT|VALUES|TABLE|WITH|DO|SHOW)$/.test(name) &&
    !hasSeveral(text) &&
    !(name.endsWith("WITH") && /\b(?:UPDATE|DELETE)\b/i.test(text))
  );
}

/** Describes a statement that changes its connection, such as `SET` or `LOCK TABLES`. Returns undefined for any other. */
export function sessionStatement(text: string): (Pick<Statement, "name"> & { readonly session: Scope }) | undefined {
  sessionless.lastIndex = 0;
  if (!sessionless.test(text) || (text.includes(";") && hasSeveral(text))) {
    const { name, session } = statementIn(text);
    if (session) return { name, session };
  }
  return locking.test(text) ? userLock(text) : undefined;
}

/** Statements that keep the transaction open: nearly all queries of a run. */
const plain = /[\t-\r (]*(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|DO)\b/iy;
const sessionless = /[\t-\r (]*(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|DO|CALL|WITH|LOAD|ALTER)\b/iy;
const locking = /(?:GET|RELEASE|ALL)_LOCK/i;

/** Describes a text that takes a lock by `GET_LOCK()` and keeps it, or that releases one which an earlier query took. */
function userLock(text: string): { readonly name: string; readonly session: Scope } | undefined {
  const called = calledIn(text);
  const isReleased = called.has("RELEASE_LOCK") || called.has("RELEASE_ALL_LOCKS");
  if (called.has("GET_LOCK") === isReleased) return undefined;
  return isReleased ? { name: "RELEASE_LOCK()", session: "passing" } : { name: "GET_LOCK()", session: "lasting" };
}

/** Returns the functions that a text calls. */
function calledIn(text: string, called = new Set<string>()): Set<string> {
  const lexer = new Lexer(text);
  let last = lexer.next();
  if (last?.text === "CREATE") return called; // its body runs later
  for (let token = lexer.next(); token; last = token, token = lexer.next()) {
    if (token.text === "(" && last?.kind === "word") called.add(last.text);
    if (token.kind === "string" && last?.text === "IMMEDIATE") calledIn(token.text, called);
  }
  return called;
}

/** Beginning of a routine, whose body runs later. */
const routine =
  /^CREATE (?:OR REPLACE )?(?:DEFINER = .* )?(?:AGGREGATE )?(?:PROCEDURE|FUNCTION|TRIGGER|EVENT|PACKAGE)\b/;

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

/** Returns the statement inside an `EXECUTE IMMEDIATE '…'` or a `SET STATEMENT … FOR …`. */
function innerOf(name: string, tokens: readonly Token[]): Statement | undefined {
  if (name === "EXECUTE IMMEDIATE" && tokens[2]?.kind === "string") return statementIn(tokens[2].text);
  const at = name === "SET STATEMENT" ? tokens.findIndex(({ text }) => text === "FOR") : -1;
  return at < 0 ? undefined : statementOf(tokens.slice(at + 1));
}

/** Returns the effect of a statement that begins in a conditional comment. For some servers it is another statement, or none. */
function conditional(effect: Effect, tokens: readonly Token[]): Effect {
  const isAll = tokens.every(({ isConditional }) => isConditional);
  return (isAll && effect !== "commits") || effect === "mayCommit" ? effect : "unsure";
}

/** Returns the variables that a SET assigns. A word such as GLOBAL also applies to the assignments after it. */
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
