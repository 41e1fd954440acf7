/** What counts in the text of an SQL file, looked at as Latin-1: patterns for `find()`. */

/**
 * What comes before a query: blanks as the client knows them, BOMs (of `cat a.sql b.sql`), the opening of a comment. A dump of
 * MariaDB opens with `/*M!999999\-`, which is a command to the client and a comment to everybody else.
 */
export const gaps = /(?:[\t-\r ]|\xEF\xBB\xBF)*(--|#|\/\*(?:(?!M?!)|(?=M?!999999\\-)))?/y;

/** At the beginning of a query: a line `DELIMITER argument`, which must not look like a comment, or a line `USE name`. */
export const lineCommands =
  /(?<=^[\t\v-\r \xEF\xBB\xBF]*)(?:delimiter[\t ]+((?![-#]|\/\*)(?:(?!["'\\`])[!-~])+)(?:[\t ]+(?:--|#)[^\n]*|[\t\r ]*)\n|use[\t ]+[^\t-\r ][^\n\\]*\n)/imy;

/** There, too: the client's other commands. No SQL that makes sense in a file begins with one of these words. */
export const otherCommands =
  /(?:delimiter[\t ]+(?:[-#]|\/\*)[!-~]*|delimiter|charset|clear|connect|edit|ego|exit|go|help|nopager|notee|nowarning|pager|print|prompt|quit|rehash|resetconnection|sandbox|source|status|system|tee|warnings|\?)(?![\w$])/iy;

/** Tells soon that most queries are no command of either kind: by the first two letters, of `?` by itself. */
export function beginsLikeCommand(piece: Uint8Array, at: number): boolean {
  return piece[at] === 0x3f || commandPairs.has((piece[at]! << 8) | piece[at + 1]! | 0x2020);
}

const commandPairs: ReadonlySet<number> = new Set(
  "ch cl co de ed eg ex go he no pa pr qu re sa so st sy te us wa"
    .split(" ")
    .map((pair) => (pair.charCodeAt(0) << 8) | pair.charCodeAt(1)),
);

/** A blank as the client knows it. */
export function isBlank(byte: number | undefined): boolean {
  return byte !== undefined && (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));
}

/** What else a gap can have in it: the openings of comments, and BOMs. */
export const gapBytes: ReadonlySet<number> = new Set(Buffer.from("-#/\xEF", "latin1"));

const closings: Readonly<Record<string, RegExp>> = {
  "'": /['\\]/g,
  '"': /["\\]/g,
  "`": /`/g,
  "/*": /\*\/|\/\*[!/]/g,
  "--": /\n/g,
  "#": /\n/g,
};

/** In a quote or comment: what ends it, or escapes the next character, or ends it for either server or client. */
export function closingOf(opening: string): RegExp {
  return closings[opening] ?? new RegExp(`${escapeRegExp(opening)}|\\\\`, "g"); // of a dollar quote: itself
}

/** Whether a token opens a quote or comment. */
export function opens(token: string): boolean {
  return token in closings || token.startsWith("$");
}

/** In a query: what ends it, opens a quote or comment, or is a command of the client. */
export function tokensWith(delimiter: string, dollarQuotes: boolean): RegExp {
  const dollar = dollarQuotes ? "|(?<![\\w$\\x80-\\xFF])\\$[\\w\\x80-\\xFF]*\\$" : "";
  return new RegExp(
    `${escapeRegExp(delimiter)}|#|--(?=[\\t-\\r ])|/\\*(?!M?!)|\\\\[!-~]?|` +
      `\\n?^[\\t ]*(?:DELIMITER|delimiter)[\\t ]+[;/$|&%#@^~]${dollar}`,
    "my",
  );
}

/** What of these tokens may begin with a byte: none, one, one at the start of a line; or it is one, such as a quote. */
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

/** What matches there, or with a global pattern from there on. */
export function find(pattern: RegExp, text: string, position: number): RegExpExecArray | null {
  pattern.lastIndex = position;
  return pattern.exec(text);
}

/** Why a token that is no SQL is refused. */
export function notSql(found: string, isInQuery = false): string {
  if (isInQuery && /delimiter/i.test(found)) return "DELIMITER inside a query: the delimiter before it is missing";
  if (/^delimiter[\t ]/i.test(found)) return `${found} looks like a comment: take another delimiter, such as // or $$`;
  if (/^delimiter$/i.test(found))
    return "DELIMITER needs a line of its own, and one argument such as // or $$, without quotes";
  return `"${found}" is a command of the mariadb client, not SQL`;
}
