/**
 * SQL files and standard input -> queries, one after the other, in constant memory.
 *
 * A query ends where the `mariadb` client would end it: at the delimiter, `\g` or `\G`, outside quotes and comments,
 * or where the file ends. What that client would carry out itself, or guess at, is refused with file and line: a wrong
 * guess runs on somebody's data.
 */
import { isUtf8 } from "node:buffer";
import { createReadStream } from "node:fs";
import { access, constants, stat } from "node:fs/promises";
import { UsageError, why } from "./errors.ts";

/** A query and the `file:line` of its first line. */
export interface FileQuery {
  readonly sql: string;
  readonly at: string;
}

/**
 * Reads SQL files, `-` being standard input, and yields their queries in order: as written, without the delimiter and
 * without blanks and comments before them. It carries out `DELIMITER`, and takes a line `USE name` for a query, as the
 * client does. A backslash in quotes escapes: a server with NO_BACKSLASH_ESCAPES needs files that have none there.
 *
 * @throws UsageError before the first query, naming the file, when one cannot be read. Naming file and line: for text that
 * is not UTF-8; for a quote or comment without an end (the file was cut short, and the client would send what there is,
 * such as a DELETE without its WHERE) or without a clear one; for DELIMITER without its argument, or inside a query;
 * for the client's other commands, such as `source` and `\c`.
 */
export async function* readQueries(
  files: readonly string[],
  stdin: AsyncIterable<Uint8Array> = process.stdin,
): AsyncGenerator<FileQuery> {
  for (const file of files) if (file !== "-") await checkReadable(file);
  for (const file of files) yield* file === "-" ? split(stdin, "stdin") : split(createReadStream(file), file);
}

async function checkReadable(file: string): Promise<void> {
  try {
    await access(file, constants.R_OK);
    if ((await stat(file)).isDirectory()) throw new Error("it is a directory");
  } catch (error) {
    throw new UsageError(`Cannot read ${file}: ${why(error)}`, { cause: error });
  }
}

/** Splits the bytes of one file, looked at as Latin-1: whatever counts here is ASCII. */
async function* split(chunks: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<FileQuery> {
  let delimiter = ";";
  let tokens = tokensWith(delimiter);
  let inside = ""; // what opened the quote or comment that the text is in
  let insideLine = 0;
  let queryLine = 0; // 0 between queries
  let parts: Buffer[] = []; // the query up to the end of the last piece
  let line = 1;

  for await (const piece of pieces(chunks)) {
    const text = piece.toString("latin1");
    let position = 0;
    let start = 0; // of the query in this piece
    let newline = text.indexOf("\n");
    const lineAt = (offset: number) => {
      for (; newline >= 0 && newline < offset; newline = text.indexOf("\n", newline + 1)) line++;
      return line;
    };
    while (position < text.length) {
      if (inside !== "") {
        const closing = find(closings[inside]!, text, position);
        if (closing === null) break;
        const [found] = closing;
        position = closing.index + found.length;
        if (found === "\\") position++;
        else if (found.startsWith("/*"))
          throw refusal(name, lineAt(position), `${found} inside a comment makes its end unclear`);
        else inside = "";
        continue;
      }
      let end = -1; // of the query, when it is in this piece
      if (queryLine === 0) {
        const [gap, comment = ""] = find(gaps, text, position)!;
        position += gap.length;
        inside = comment;
        insideLine = lineAt(position);
        if (inside !== "" || position === text.length) continue;
        const [command, argument] = find(lineCommands, text, position) ?? [];
        if (argument !== undefined) {
          delimiter = argument;
          tokens = tokensWith(delimiter);
          position += command!.length;
          continue;
        }
        queryLine = insideLine;
        start = position;
        if (command === undefined) {
          const other = find(otherCommands, text, position);
          if (other !== null) throw refusal(name, queryLine, notSql(other[0]));
        } else if (!command.includes(delimiter)) {
          position += command.length;
          end = position;
        }
      }
      if (end < 0) {
        const token = find(tokens, text, position);
        if (token === null) break;
        const [found] = token;
        position = token.index + found.length;
        if (found === delimiter || found === "\\g" || found === "\\G") end = token.index;
        else if (found in closings) [inside, insideLine] = [found, lineAt(token.index)];
        else if (found !== "\\N") throw refusal(name, lineAt(token.index), notSql(found));
      }
      if (end >= 0) {
        const sql = decode([...parts, piece.subarray(start, end)], name, queryLine);
        if (sql !== "") yield { sql, at: `${name}:${queryLine}` };
        parts = [];
        queryLine = 0;
      }
    }
    lineAt(text.length);
    if (queryLine > 0) parts.push(piece.subarray(start));
  }
  if (inside !== "") throw refusal(name, insideLine, `the ${inside} that opens here is not closed`);
  const sql = decode(parts, name, queryLine);
  if (sql !== "") yield { sql, at: `${name}:${queryLine}` };
}

// What comes before a query: blanks as the client knows them, BOMs (of `cat a.sql b.sql`), the opening of a comment.
// A dump of MariaDB opens with /*M!999999\-, which is a command to the client and a comment to everybody else.
const gaps = /(?:[\t-\r ]|\xEF\xBB\xBF)*(--|#|\/\*(?:(?!M?!)|(?=M?!999999\\-)))?/y;

// At the beginning of a query: a line `DELIMITER argument`, which must not look like a comment, or a line `USE name`.
const lineCommands =
  /(?<=^[\t\v-\r \xEF\xBB\xBF]*)(?:delimiter[\t ]+((?![-#]|\/\*)(?:(?!["'\\`])[!-~])+)(?:[\t ]+(?:--|#)[^\n]*|[\t\r ]*)\n|use[\t ]+[^\t-\r ][^\n\\]*\n)/imy;

// There, too: the client's other commands. No SQL that makes sense in a file begins with one of these words.
const otherCommands =
  /(?:delimiter|charset|clear|connect|edit|ego|exit|go|help|nopager|notee|nowarning|pager|print|prompt|quit|rehash|resetconnection|sandbox|source|status|system|tee|warnings|\?)(?![\w$])/iy;

/** In a quote or comment: what ends it, or escapes the next character, or ends it for either server or client. */
const closings: Readonly<Record<string, RegExp>> = {
  "'": /['\\]/g,
  '"': /["\\]/g,
  "`": /`/g,
  "/*": /\*\/|\/\*[!/]/g,
  "--": /\n/g,
  "#": /\n/g,
};

/** In a query: what ends it, opens a quote or comment, or is a command of the client. */
function tokensWith(delimiter: string): RegExp {
  const end = delimiter.replace(/\W/g, "\\$&");
  return new RegExp(
    `${end}|['"\`#]|--(?=[\\t-\\r ])|/\\*(?!M?!)|\\\\[!-~]?|^[\\t ]*(?:DELIMITER|delimiter)[\\t ]+[;/$|&%#@^~]`,
    "gm",
  );
}

function find(pattern: RegExp, text: string, position: number): RegExpExecArray | null {
  pattern.lastIndex = position;
  return pattern.exec(text);
}

function notSql(found: string): string {
  if (/^delimiter$/i.test(found))
    return "DELIMITER needs a line of its own, and one argument such as // or $$, without quotes";
  if (/delimiter/i.test(found)) return "DELIMITER inside a query: the delimiter before it is missing";
  return `"${found}" is a command of the mariadb client, not SQL`;
}

function decode(parts: Buffer[], name: string, line: number): string {
  const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  const sql = bytes.toString();
  if (sql.includes("\uFFFD") && !isUtf8(bytes)) {
    const lines = bytes.toString("latin1").split("\n");
    throw refusal(
      name,
      line + lines.findIndex((text) => !isUtf8(Buffer.from(text, "latin1"))),
      "not UTF-8 (convert it, or dump BLOBs with --hex-blob)",
    );
  }
  let end = sql.length;
  while (end > 0 && sql.charCodeAt(end - 1) <= 0x20) end--;
  return sql.slice(0, end);
}

function refusal(name: string, line: number, what: string): UsageError {
  return new UsageError(`Cannot read ${name}:${line}: ${what}`);
}

/** Cuts a stream after line ends, as the client does, so that nothing but quotes, comments and queries is cut. */
async function* pieces(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let held: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    // The whole file may be one line: after a megabyte, a space does as well.
    const end = 1 + chunk.lastIndexOf(0x0a) || (size > 1024 * 1024 ? 1 + chunk.lastIndexOf(0x20) : 0);
    if (end > 0) {
      yield Buffer.concat([...held, chunk.subarray(0, end)]);
      held = [];
      size = chunk.length - end;
    }
    held.push(chunk.subarray(end));
  }
  yield Buffer.concat([...held, Buffer.from("\n")]);
}
