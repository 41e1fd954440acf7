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
  /(?:delimiter|charset|clear|connect|edit|ego|exit|go|help|nopager|notee|nowarning|pager|print|prompt|quit|rehash|resetconnection|sandbox|source|status|system|tee|warnings|\?)(?![\w$])/iy;

/** What a command of either kind begins with: to tell soon that most queries are none. */
export const commandBytes: ReadonlySet<number> = new Set(Buffer.from("cdeghnpqrstuwCDEGHNPQRSTUW?"));

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

/** For each byte, 0 when none of these tokens begins with it, 1 when one may, 2 when it is one, a quote. */
export function kindsOfBytes(delimiter: string): Uint8Array {
  const kinds = new Uint8Array(256);
  for (const byte of Buffer.from(`${delimiter[0]}#-/\\\n$`)) kinds[byte] = 1;
  for (const byte of Buffer.from("'\"`")) kinds[byte] = 2;
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
export function notSql(found: string): string {
  if (/^delimiter$/i.test(found))
    return "DELIMITER needs a line of its own, and one argument such as // or $$, without quotes";
  if (/delimiter/i.test(found)) return "DELIMITER inside a query: the delimiter before it is missing";
  return `"${found}" is a command of the mariadb client, not SQL`;
}
