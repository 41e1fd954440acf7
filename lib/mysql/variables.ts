/**
 * Finds the session state that a query reads from earlier queries on its connection: user variables, and information functions
 * about the previous statement, such as `LAST_INSERT_ID()`.
 *
 * Sources: "User-Defined Variables", "Information Functions" and "SHOW WARNINGS" in MySQL's manual and in MariaDB's.
 */
import { sqlOf } from "../shared/query.ts";
import { hasSeveral, Lexer, type Token } from "./lexer.ts";

export interface Variables {
  /** Names that it reads and has not set itself before. */
  readonly reads: ReadonlySet<string>;
  /** User variables that it sets. */
  readonly sets: ReadonlySet<string>;
  /** Procedure that it calls with user variables. The variables are in `sets`, but the procedure may also read them. */
  readonly procedure: string | undefined;
}

/** State that every statement sets. */
const ofTheLast = ["ROW_COUNT()", "FOUND_ROWS()", "warnings"];
/** State that only some statements set. */
const ofAnEarlier = ["LAST_INSERT_ID()", "LASTVAL()"];
/** Names of the state that functions and system variables read. */
const readers: Readonly<Record<string, string>> = {
  LAST_INSERT_ID: "LAST_INSERT_ID()",
  ROW_COUNT: "ROW_COUNT()",
  FOUND_ROWS: "FOUND_ROWS()",
  LASTVAL: "LASTVAL()",
  "@@identity": "LAST_INSERT_ID()",
  "@@last_insert_id": "LAST_INSERT_ID()",
  "@@warning_count": "warnings",
  "@@error_count": "warnings",
};

/** Tells whether each statement sets the state of this name, or only some do. Undefined for a user variable. */
export function isLeft(name: string): "by each" | "by some" | undefined {
  return ofTheLast.includes(name) ? "by each" : ofAnEarlier.includes(name) ? "by some" : undefined;
}

/** Returns true if a query may change what `LAST_INSERT_ID()` or `LASTVAL()` returns. */
export function leavesId(text: string): boolean {
  idle.lastIndex = 0;
  return !idle.test(text) || /;|LAST_INSERT_ID|NEXT/i.test(text);
}
const idle = /[\t-\r (]*(?:SELECT|UPDATE|DELETE|DO)\b/iy;

/** Returns the names of all state that a query sets on its connection. */
export function leavings(text: string, variables: Variables | undefined): readonly string[] {
  return [...(variables?.sets ?? []), ...ofTheLast, ...(leavesId(text) ? ofAnEarlier : [])];
}

/** Returns true if one of these statements sets a user variable. */
export function isSetIn(statements: readonly { readonly sql: string | Uint8Array }[], name: string): boolean {
  return statements.some((statement) => variablesIn(sqlOf(statement), true)?.sets.has(name));
}

/**
 * Returns what a query reads and sets. Returns undefined, fast, for nearly all queries.
 *
 * @param isAnySet true if a query of the run has set a user variable.
 */
export function variablesIn(text: string, isAnySet: boolean): Variables | undefined {
  const mayMatter =
    functions.test(text) || (text.includes("@") && (isAnySet || setting.test(text) || hasSeveral(text)));
  return mayMatter ? new Reader().read(text) : undefined;
}

const functions =
  /LAST_INSERT_ID|ROW_COUNT|FOUND_ROWS|LASTVAL|PREVIOUS|WARNING|ERRORS|ERROR_COUNT|IDENTITY|DIAGNOSTICS/i;
const setting = /:=|INTO\s*[@#/-]|CALL|LOAD|EXECUTE/i;
/** Objects of a CREATE or ALTER whose body runs later. */
const routines = /^(?:PROCEDURE|FUNCTION|TRIGGER|EVENT|PACKAGE)$/;
/** Words that come before a statement inside a compound statement. */
const openers = /^(?:ATOMIC|BEGIN|THEN|ELSE|DO|LOOP|REPEAT)$/;

/** Assignment whose right side is being read. */
interface Open {
  readonly name: string;
  readonly depth: number;
  readsItself: boolean;
}

class Reader implements Variables {
  readonly reads = new Set<string>();
  readonly sets = new Set<string>();
  procedure: string | undefined;
  /** Names that earlier statements of this text have set. */
  readonly #own = new Set<string>();
  // State of the present statement: its first words, the names that it reads, and the names that it sets to a value that does
  // not depend on the old one.
  #words: string[] = [];
  #isHead = true;
  #isRoutine = false;
  #read = new Set<string>();
  #given = new Set<string>();
  #open: Open[] = [];
  #depth = 0;
  #isInto = false;
  #isSet = false;

  read(text: string): this {
    const lexer = new Lexer(text);
    let before: Token | undefined;
    let last: Token | undefined;
    for (let token = lexer.next(); token; before = last, last = token, token = lexer.next()) {
      if (this.#isHead) this.#head(token);
      if (this.#isRoutine) return this;
      this.#take(token, last, before);
    }
    this.#take(undefined, last, before);
    return this;
  }

  /** Handles the token `last`, knowing the one after it and the one before it. */
  #take(next: Token | undefined, last: Token | undefined, before: Token | undefined): void {
    const isAssigned = next?.text === ":=" || (this.#isSet && next?.text === "=");
    if (last?.kind === "variable") {
      if (isAssigned && !last.text.startsWith("@@"))
        this.#open.push({ name: last.text, depth: this.#depth, readsItself: false });
      else this.#mention(last.text);
    }
    if (next?.kind === "string" && this.#words[0] === "EXECUTE" && last?.text === "IMMEDIATE") this.#include(next.text);
    if (next?.kind === "word") this.#word(next.text, last);
    if (last?.text === "(" && before?.kind === "word") this.#called(before.text, next?.text === ")");
    if (next?.kind !== "variable" && next?.text !== ",") this.#isInto = next?.text === "INTO";
    if (next?.kind === "symbol") this.#symbol(next.text);
    if (next === undefined) this.#endStatement();
  }

  #head({ kind, text }: Token): void {
    const isOfAccount = /^[()]$/.test(text) && this.#words.at(-1) === "CURRENT_USER";
    this.#isHead = (kind !== "symbol" || /^[.=@]$/.test(text) || isOfAccount) && this.#words.length < 20;
    const isTable = /^(?:TABLE|EXISTS|VIEW)$/.test(this.#words.at(-1) ?? "");
    if (kind === "word" || kind === "name") this.#words.push(text.toUpperCase());
    this.#isRoutine = kind === "word" && !isTable && routines.test(text) && /^(?:CREATE|ALTER)$/.test(this.#words[0]!);
  }

  #word(text: string, last: Token | undefined): void {
    const isFirst = last === undefined || last.text === ";" || openers.test(last.text);
    if (isFirst) this.#isSet = text === "SET" || text === "GET";
    if (text === "DIAGNOSTICS") this.#read.add("warnings");
    if (/^(?:WARNINGS|ERRORS)$/.test(text) && this.#words[0] === "SHOW") this.#read.add("warnings");
    if (text === "VALUE" && last?.text === "PREVIOUS") this.#read.add("LASTVAL()");
  }

  #symbol(text: string): void {
    if (text === "(") this.#depth++;
    if (text === ")") this.#depth--;
    if (text === ",") this.#close(this.#depth);
    if (text === ")") this.#close(this.#depth + 1);
    if (text === ";") this.#endStatement();
  }

  #called(name: string, isWithout: boolean): void {
    const read = readers[name];
    if (read === undefined) return;
    if (isWithout || name === "LASTVAL") this.#read.add(read);
    else if (name === "LAST_INSERT_ID") this.#given.add(read);
  }

  /** Handles a variable that is not the target of an assignment. */
  #mention(name: string): void {
    for (const open of this.#open) if (open.name === name) open.readsItself = true;
    if (name.startsWith("@@")) {
      const read = readers[name.replace(/^@@(?:session|local)\./, "@@")];
      if (read !== undefined) this.#read.add(read);
    } else if (this.#words[0] === "LOAD" || this.#isInto) this.sets.add(name);
    else if (this.#words[0] === "CALL") {
      this.sets.add(name);
      this.procedure = this.#words.slice(1).join(".");
    } else this.#read.add(name);
  }

  /** Ends the open assignments at this depth of parentheses, and deeper. */
  #close(depth: number): void {
    while (this.#open.length > 0 && this.#open.at(-1)!.depth >= depth) {
      const { name, readsItself } = this.#open.pop()!;
      this.sets.add(name);
      if (readsItself) this.#read.add(name);
      else this.#given.add(name);
    }
  }

  #endStatement(): void {
    this.#close(Number.NEGATIVE_INFINITY);
    for (const name of this.#read) if (!this.#given.has(name) && !this.#own.has(name)) this.reads.add(name);
    for (const name of [...this.sets, ...this.#given, ...ofTheLast]) this.#own.add(name);
    if (!/^(?:SELECT|UPDATE|DELETE|DO|SET|SHOW)$/.test(this.#words[0] ?? "SET"))
      for (const name of ofAnEarlier) this.#own.add(name);
    this.#words = [];
    this.#isHead = true;
    this.#read = new Set();
    this.#given = new Set();
    this.#depth = 0;
    this.#isSet = false;
  }

  #include(text: string): void {
    const inner = new Reader().read(text);
    for (const name of inner.reads) this.#read.add(name);
    for (const name of inner.sets) this.sets.add(name);
  }
}
