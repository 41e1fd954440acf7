/**
 * What a query takes from its connection that earlier ones have left there: user variables, and what the server tells of the
 * statement before, such as `LAST_INSERT_ID()`.
 *
 * Sources are MySQL's manual, "User-Defined Variables", "Information Functions" and "SHOW WARNINGS", and MariaDB's of these names.
 */
import { hasSeveral, Lexer, type Token } from "./lexer.ts";

export interface Variables {
  /** What it reads without having set it itself. */
  readonly reads: ReadonlySet<string>;
  /** The user variables that it sets. */
  readonly sets: ReadonlySet<string>;
  /** The procedure that it calls with variables, which are in `sets`: it may read them, too. */
  readonly procedure: string | undefined;
}

/** What each statement leaves for the next one. */
const ofTheLast = ["ROW_COUNT()", "FOUND_ROWS()", "warnings"];
/** What only some statements leave. */
const ofAnEarlier = ["LAST_INSERT_ID()", "LASTVAL()"];
/** Under which name these are read, by the function or variable that reads them. */
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

/** Whether a name is that of something that each statement leaves, or only some. */
export function isLeft(name: string): "by each" | "by some" | undefined {
  return ofTheLast.includes(name) ? "by each" : ofAnEarlier.includes(name) ? "by some" : undefined;
}

/** Whether a query may leave what `LAST_INSERT_ID()` and `LASTVAL()` tell. */
export function leavesId(text: string): boolean {
  idle.lastIndex = 0;
  return !idle.test(text) || /;|LAST_INSERT_ID|NEXT/i.test(text);
}
const idle = /[\t-\r (]*(?:SELECT|UPDATE|DELETE|DO)\b/iy;

/** All that a query leaves on its connection. */
export function leavings(text: string, variables: Variables | undefined): readonly string[] {
  return [...(variables?.sets ?? []), ...ofTheLast, ...(leavesId(text) ? ofAnEarlier : [])];
}

/** What a query takes and leaves; undefined for nearly all, soon, where none has set a variable so far. */
export function variablesIn(text: string, isAnySet: boolean): Variables | undefined {
  const mayMatter =
    functions.test(text) || (text.includes("@") && (isAnySet || setting.test(text) || hasSeveral(text)));
  return mayMatter ? new Reader().read(text) : undefined;
}

const functions =
  /LAST_INSERT_ID|ROW_COUNT|FOUND_ROWS|LASTVAL|PREVIOUS|WARNING|ERRORS|ERROR_COUNT|IDENTITY|DIAGNOSTICS/i;
const setting = /:=|INTO\s*[@#/-]|CALL|LOAD|EXECUTE/i;
/** Statements with others in them that are run later. */
const routines = /^(?:PROCEDURE|FUNCTION|TRIGGER|EVENT|PACKAGE)$/;
/** Words before a statement in a compound one. */
const openers = /^(?:ATOMIC|BEGIN|THEN|ELSE|DO|LOOP|REPEAT)$/;

/** An assignment whose right side is being read. */
interface Open {
  readonly name: string;
  readonly depth: number;
  readsItself: boolean;
}

class Reader implements Variables {
  readonly reads = new Set<string>();
  readonly sets = new Set<string>();
  procedure: string | undefined;
  /** What its earlier statements have set, or each statement for itself. */
  readonly #own = new Set<string>();
  /** Of the statement: its first words, what it reads, and what it gives a value that does not depend on what it had. */
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

  /** Takes what has been read of a text: the last token, with the one that follows it and the one before. */
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

  /** A variable that is not assigned to. */
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

  /** Ends the assignments whose right sides are at least so deep. */
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
