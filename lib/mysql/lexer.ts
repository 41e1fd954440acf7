/**
 * Splits the text of a query into tokens, as the servers' lexer does. Skips comments, except those that a server executes, such
 * as `/*!50001 … *\/`: their content counts.
 *
 * A text may have any length, and may be the Latin-1 view of bytes in any character set that servers take statements in. No
 * pattern here matches more than a word, because V8 runs out of stack on patterns with alternatives inside a repetition.
 */

export interface Token {
  readonly kind: "word" | "name" | "string" | "variable" | "symbol";
  /** The token: a word in upper case, a variable in lower case, a name or a string without its quotes. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** True inside a comment that some servers execute and others do not. */
  readonly isConditional: boolean;
}

export class Lexer {
  readonly #text: string;
  #at = 0;
  #isConditional = false;
  #last: Token | undefined;

  constructor(text: string, from = 0) {
    this.#text = text;
    this.#at = from;
  }

  /** Returns the next token, or undefined at the end of the text. */
  next(): Token | undefined {
    this.#skipGap();
    const [text, start] = [this.#text, this.#at];
    const first = text[start];
    if (first === undefined) return undefined;
    if (first === "'" || first === '"') return this.#take("string", endOfQuoted(text, start));
    if (first === "`") return this.#take("name", endOfQuoted(text, start));
    const end = endOf(word, text, start);
    if (end > start) return this.#take("word", end);
    if (first === "@" && !this.#isInAccount) return this.#take("variable", this.#endOfVariable(start));
    return this.#take("symbol", start + (text.startsWith(":=", start) ? 2 : 1));
  }

  /** True if an `@` belongs to the token right before it, as in `root@localhost` but not in `INTO@x`. */
  get #isInAccount(): boolean {
    const last = this.#last;
    return last !== undefined && last.end === this.#at && last.kind !== "symbol" && !beforeVariable.test(last.text);
  }

  #endOfVariable(start: number): number {
    const end = endOf(variable, this.#text, start);
    const [before, next] = [this.#text[end - 1], this.#text[end]];
    const isQuoted = isQuote(next) && (end === start + 1 || (next === "`" && (before === "@" || before === ".")));
    return isQuoted ? endOfQuoted(this.#text, end) : end;
  }

  #take(kind: Token["kind"], end: number): Token {
    const start = this.#at;
    this.#at = end;
    const text = textOf(kind, this.#text.slice(start, end));
    this.#last = { kind, text, start, end, isConditional: this.#isConditional };
    return this.#last;
  }

  /** Skips blanks and comments. Enters and leaves executable comments. */
  #skipGap(): void {
    const text = this.#text;
    for (;;) {
      this.#at = endOf(blanks, text, this.#at);
      const at = this.#at;
      const inner = endOf(executable, text, at);
      if (endOf(lineComment, text, at) > at) this.#at = endBehind(text, "\n", at);
      else if (inner > at) {
        this.#at = inner;
        this.#isConditional = isConditional.test(text.slice(at, inner));
      } else if (text.startsWith("/*", at)) this.#at = endBehind(text, "*/", at + 2);
      else if (text.startsWith("*/", at)) {
        this.#at = at + 2;
        this.#isConditional = false;
      } else return;
    }
  }
}

/** Returns true if a text has another statement after a semicolon. Fast also for megabytes of a dump. */
export function hasSeveral(text: string): boolean {
  if (!text.includes(";")) return false;
  for (notable.lastIndex = 0; notable.test(text); ) {
    const end = notable.lastIndex;
    const found = text[end - 1];
    if (found === ";") {
      const next = new Lexer(text, end).next();
      if (next?.text !== ";") return next !== undefined;
    } else if (isQuote(found)) notable.lastIndex = endOfQuoted(text, end - 1);
    else notable.lastIndex = endBehind(text, found === "*" ? "*/" : "\n", end);
  }
  return false;
}

const notable = /[;'"`#]|--(?![^\t-\r ])|\/\*(?!M?!)/g;

const blanks = /[\t-\r ]*/y;
const word = /[\w$\x80-\uffff]+/y;
const variable = /@@?[\w$.\x80-\uffff]*/y;
const lineComment = /#|--(?![^\t-\r ])/y;
/** Beginning of an executable comment. MariaDB's dumps begin with `/*M!999999\-`, which no server executes. */
const executable = /\/\*M?!(?!99999)(?:\d{5,6})?/y;
/**
 * Beginning of a comment that only some servers execute: MariaDB's own `/*M!`, or a version newer than the oldest supported
 * server, MySQL 5.7. MariaDB reads such version numbers in its own way.
 */
const isConditional = /M|!(?:50[7-9]|5[1-9]|[6-9]|\d{6})/;
const beforeVariable = /^(?:AND|BY|CALL|ELSE|FROM|IN|INTO|LIKE|LIMIT|NOT|OR|SELECT|SET|THEN|USING|WHEN|WHERE)$/;

function textOf(kind: Token["kind"], text: string): string {
  if (kind === "word") return text.toUpperCase();
  if (kind === "variable") return text.replace(/^(@|@@.*)(['"`])(.*)\2$/s, "$1$3").toLowerCase();
  if (kind !== "string" && kind !== "name") return text;
  const [quote] = text;
  const inner = text.slice(1, -1).replaceAll(quote! + quote, quote!);
  return kind === "name" ? inner : inner.replace(/\\(.)/gs, (_, character: string) => escapes[character] ?? character);
}

const escapes: Readonly<Record<string, string>> = { 0: "\0", b: "\b", n: "\n", r: "\r", t: "\t", Z: "\x1a" };

function isQuote(character: string | undefined): boolean {
  return character === "'" || character === '"' || character === "`";
}

/** Returns the end of a quoted token. Two quotes inside are an escaped one. A backslash escapes, except in a name. */
function endOfQuoted(text: string, start: number): number {
  const quote = text[start]!;
  for (let at = start + 1; ; at++) {
    at = text.indexOf(quote, at);
    if (at < 0) return text.length;
    let backslashes = 0;
    while (quote !== "`" && text[at - 1 - backslashes] === "\\") backslashes++;
    if (backslashes % 2 === 1) continue;
    if (text[at + 1] !== quote) return at + 1;
    at++;
  }
}

function endBehind(text: string, what: string, from: number): number {
  const at = text.indexOf(what, from);
  return at < 0 ? text.length : at + what.length;
}

function endOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}
