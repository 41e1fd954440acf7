/** Patterns for `find()` of the tokens in an SQL file, which is read as Latin-1. */
import { isUtf8, constants as limits } from "node:buffer";

/**
 * Matches the gap before a query: blanks as in the client, BOMs (from `cat a.sql b.sql`), the opening of a comment. A dump of
 * MariaDB begins with `/*M!999999\-`, which is a command for its client and a comment for all others.
 */
export const gaps = /(?:[\t-\r ]|\xEF\xBB\xBF)*(--|#|\/\*(?:(?!M?!)|(?=M?!999999\\-)))?/y;

/** Matches, at the beginning of a query, a line `DELIMITER argument` or `USE name`. The argument must not look like a comment. */
export const lineCommands =
  /(?<=^[\t\v-\r \xEF\xBB\xBF]*)(?:delimiter[\t ]+((?![-#]|\/\*)(?:(?!["'\\`])[!-~])+)(?:[\t ]+(?:--|#)[^\n]*|[\t\r ]*)\n|use[\t ]+[^\t-\r ][^\n\\]*\n)/imy;

/** Matches, at the beginning of a query, the client's other commands. No useful SQL in a file begins with one of these words. */
export const otherCommands =
  /(?:delimiter[\t ]+(?:[-#]|\/\*)[!-~]*|delimiter|charset|clear|connect|edit|ego|exit|go|help|nopager|notee|nowarning|pager|print|prompt|quit|rehash|resetconnection|sandbox|source|status|system|tee|warnings|\?)(?![\w$])/iy;

/** Returns true if the first two letters, or `?`, may begin a command. A fast test, because most queries do not. */
export function beginsLikeCommand(piece: Uint8Array, at: number): boolean {
  return piece[at] === 0x3f || commandPairs.has((piece[at]! << 8) | piece[at + 1]! | 0x2020);
}

const commandPairs: ReadonlySet<number> = new Set(
  "ch cl co de ed eg ex go he no pa pr qu re sa so st sy te us wa"
    .split(" ")
    .map((pair) => (pair.charCodeAt(0) << 8) | pair.charCodeAt(1)),
);

/** Returns true for a blank as in the client. */
export function isBlank(byte: number | undefined): boolean {
  return byte !== undefined && (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));
}

/** Other first bytes in a gap: those of comments and BOMs. */
export const gapBytes: ReadonlySet<number> = new Set(Buffer.from("-#/\xEF", "latin1"));

const closings: Readonly<Record<string, RegExp>> = {
  "'": /['\\]/g,
  '"': /["\\]/g,
  "`": /`/g,
  "/*": /\*\/|\/\*[!/]/g,
  "--": /\n/g,
  "#": /\n/g,
};

/** Returns the pattern for the end of a quote or comment. It also matches an escape, and an end for only the server or the client. */
export function closingOf(opening: string): RegExp {
  return closings[opening] ?? new RegExp(`${escapeRegExp(opening)}|\\\\`, "g"); // a dollar quote ends with its opening
}

/** Returns true if a token opens a quote or comment. */
export function opens(token: string): boolean {
  return token in closings || token.startsWith("$");
}

/** Returns the pattern for tokens in a query: its end, the opening of a quote or comment, a command of the client. */
export function tokensWith(delimiter: string, dollarQuotes: boolean): RegExp {
  const dollar = dollarQuotes ? "|(?<![\\w$\\x80-\\xFF])\\$[\\w\\x80-\\xFF]*\\$" : "";
  return new RegExp(
    `${escapeRegExp(delimiter)}|#|--(?=[\\t-\\r ])|/\\*(?!M?!)|\\\\[!-~]?|` +
      `\\n?^[\\t ]*(?:DELIMITER|delimiter)[\\t ]+[;/$|&%#@^~]${dollar}`,
    "my",
  );
}

/** Tokens that may begin with a byte: none, some, some at the start of a line. `token`: the byte is one itself, such as a quote. */
export const byteKinds = { none: 0, some: 1, lineStart: 2, token: 3 } as const;

export function kindsOfBytes(delimiter: string): Uint8Array {
  const kinds = new Uint8Array(256);
  for (const byte of Buffer.from("\t dD")) kinds[byte] = byteKinds.lineStart;
  for (const byte of Buffer.from(`${delimiter[0]}#-/\\\n$`)) kinds[byte] = byteKinds.some;
  for (const byte of Buffer.from(delimiter === ";" ? ";'\"`" : "'\"`")) kinds[byte] = byteKinds.token;
  return kinds;
}

function escapeRegExp(text: string): string {
  return text.replace(/\W/g, "\\$&");
}

/** Matches a sticky pattern at the position, or a global one from there on. */
export function find(pattern: RegExp, text: string, position: number): RegExpExecArray | null {
  pattern.lastIndex = position;
  return pattern.exec(text);
}

/** Returns the reason to refuse a token that is not SQL. */
export function notSql(found: string, isInQuery = false): string {
  if (isInQuery && /delimiter/i.test(found)) return "DELIMITER inside a query: the delimiter before it is missing";
  if (/^delimiter[\t ]/i.test(found)) return `${found} looks like a comment: take another delimiter, such as // or $$`;
  if (/^delimiter$/i.test(found))
    return "DELIMITER needs a line of its own, and one argument such as // or $$, without quotes";
  return `"${found}" is a command of the mariadb client, not SQL`;
}

/** Reason to refuse a query that is longer than `MAX_STRING_LENGTH`. */
export const tooLong = `more than ${Math.round(limits.MAX_STRING_LENGTH / 2 ** 20)} MB without an end of the query`;

/** Returns true for a byte that the client drops at the end of a query: white space, and the C library's control characters in UTF-8. */
export function isDropped(byte: number): boolean {
  return byte <= 0x20 || byte === 0x7f || byte === 0xff;
}

/** Returns the text of a query, or its bytes if they are not UTF-8. */
export function decode(bytes: Buffer): string | Uint8Array {
  return isUtf8(bytes) ? bytes.toString() : Buffer.from(bytes);
}
