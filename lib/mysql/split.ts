/** Splits a text into its statements, and compound statements into those inside. */
import { hasSeveral, Lexer, type Token } from "./lexer.ts";

/** The most tokens of a statement to look at. */
const most = 200;
/** Beginning of a compound statement, such as MariaDB's `BEGIN NOT ATOMIC`. */
const compound = /^(?:\w+ : )?(?:BEGIN NOT ATOMIC|IF|CASE|WHILE|FOR|LOOP|REPEAT)$/;
/** Words of a compound statement that another statement follows. */
const openers = /^(?:ATOMIC|THEN|ELSE|DO|LOOP|REPEAT)$/;

/** Splits a text into its statements. Those inside a compound statement count, too. */
export function* statementsIn(text: string): Generator<readonly Token[]> {
  let tokens: Token[] = [];
  let isCompound = false;
  const lexer = new Lexer(text);
  const isOne = !hasSeveral(text);
  for (let token = lexer.next(); token && !(isOne && tokens.length === most); token = lexer.next()) {
    const { kind, text } = token;
    const isEnd = kind === "symbol" && text === ";";
    const isInner = kind === "word" && text === "BEGIN" && isCompound;
    if (!isEnd && !isInner && tokens.length < most) tokens.push(token);
    if (!isOne && kind === "word" && tokens.length <= 5) isCompound ||= compound.test(headOf(tokens));
    const isOpener = isCompound && kind === "word" && openers.test(text);
    if (!isEnd && !isInner && !isOpener) continue;
    if (tokens.length > 0) yield tokens;
    tokens = [];
  }
  if (tokens.length > 0) yield tokens;
}

/** Returns the names in a DECLARE of local variables, in upper case. */
export function* declaredIn(tokens: readonly Token[]): Generator<string> {
  if (tokens[0]?.text !== "DECLARE") return;
  for (let at = 1; at === 1 || tokens[at - 1]?.text === ","; at += 2) {
    const name = tokens[at]?.text;
    if (name !== undefined) yield name.toUpperCase();
  }
}

/** Returns the words and symbols of a statement, with single spaces between them. Names and strings are "`". */
export function headOf(tokens: readonly Token[]): string {
  return tokens.map(({ kind, text }) => (kind === "name" || kind === "string" ? "`" : text)).join(" ");
}
