/**
 * Splits the text of an SQL file into queries.
 *
 * A query ends where the `mariadb` client would end it: at the delimiter, `\g` or `\G`, outside quotes and comments, or at the end
 * of the file. Commands of that client, and text that it would guess at, are refused with file and line. Otherwise a wrong guess
 * would run on somebody's data.
 */
import { isAscii, constants as limits } from "node:buffer";
import { UsageError } from "../../command/errors.ts";
import {
  beginsLikeCommand,
  byteKinds,
  closingOf,
  decode,
  find,
  gapBytes,
  gaps,
  isBlank,
  isDropped,
  kindsOfBytes,
  lineCommands,
  notSql,
  opens,
  otherCommands,
  tokensWith,
  tooLong,
} from "./tokens.ts";

/** A query and the `file:line` of its first line. */
export interface FileQuery {
  /** The text, or its bytes if they are not UTF-8. */
  readonly sql: string | Uint8Array;
  readonly at: string;
}

/** Splits a file piece by piece. Each piece ends after a line end or a space, so that it does not cut a token. */
export class Splitter {
  readonly #name: string;
  #delimiter = ";";
  #dollarQuotes = false;
  #tokens = tokensWith(";", false);
  #kinds = kindsOfBytes(";");
  #inside = ""; // opening of the quote or comment at the current position
  #insideLine = 0;
  #closing = /^/g; // matches its end
  #queryLine = 0; // 0 between queries
  #parts: Buffer[] = []; // the query up to the end of the last piece
  #size = 0; // of the parts

  // The piece and its text as Latin-1. All that matters here is ASCII.
  #piece: Buffer = Buffer.alloc(0);
  #text = "";
  #isAscii = true;
  #position = 0;
  #start = 0; // of the query in this piece
  #newline = -1; // the next line end that is not counted
  #line = 1;

  constructor(name: string) {
    this.#name = name;
  }

  /** True if `$$ ... $$` and `$tag$ ... $tag$` are quotes. They are for MySQL's client if the server supports them. */
  set dollarQuotes(value: boolean) {
    this.#dollarQuotes = value;
    this.#tokens = tokensWith(this.#delimiter, value);
  }

  /**
   * Adds the queries that end in a piece.
   *
   * @throws UsageError for text that is refused, after the queries before it were added.
   */
  split(piece: Buffer, queries: FileQuery[]): void {
    this.#piece = piece;
    const text = piece.toString("latin1");
    this.#text = text;
    this.#isAscii = isAscii(piece);
    this.#position = 0;
    this.#start = 0;
    this.#newline = text.indexOf("\n");
    while (this.#position < text.length) {
      if (this.#inside !== "") this.#leave();
      else {
        const end = this.#queryLine === 0 ? this.#enter() : this.#findEnd();
        if (end < 0) continue;
        const query = this.#take(end);
        if (query) queries.push(query);
      }
    }
    this.#lineAt(text.length);
    if (this.#queryLine === 0) return;
    const part = piece.subarray(this.#start);
    this.#size += part.length;
    if (this.#size > limits.MAX_STRING_LENGTH) throw this.#refusalAt(this.#queryLine, tooLong);
    this.#parts.push(part);
  }

  /** Adds the last query, which needs no delimiter. */
  end(queries: FileQuery[]): void {
    if (this.#inside !== "") {
      throw this.#refusalAt(this.#insideLine, `the ${this.#inside} that opens here is not closed`);
    }
    this.#piece = Buffer.alloc(0);
    this.#start = 0;
    const query = this.#take(0);
    if (query) queries.push(query);
  }

  /** Returns the error for the text after the last piece. */
  refusal(what: string): UsageError {
    return this.#refusalAt(this.#line, what);
  }

  /** Moves from inside a quote or comment to its end. */
  #leave(): void {
    if (this.#inside.length === 1 && this.#inside !== "#") {
      this.#leaveQuote();
      return;
    }
    const closing = find(this.#closing, this.#text, this.#position);
    const found = closing?.[0] ?? "";
    this.#position = closing ? closing.index + found.length : this.#text.length;
    if (found === "\\") this.#position++;
    else if (found === "/*!" || found === "/*/") {
      throw this.#refusalAt(this.#lineAt(this.#position), `${found} inside a comment makes its end unclear`);
    } else if (closing) this.#inside = "";
  }

  /** Does the same for a quote, without a regular expression. Dumps consist mostly of quotes. */
  #leaveQuote(): void {
    const piece = this.#piece;
    const quote = this.#inside.charCodeAt(0);
    const backslash = this.#inside === "`" ? -1 : 0x5c;
    let position = this.#position;
    for (; position < piece.length; position++) {
      if (piece[position] === quote) {
        this.#inside = "";
        break;
      }
      if (piece[position] === backslash) position++;
    }
    this.#position = position + 1;
  }

  /** Moves from between queries to the next comment, command or query. Returns the end of a `USE` line without a delimiter, or -1. */
  #enter(): number {
    const comment = this.#skipGap();
    const line = this.#lineAt(this.#position);
    if (comment !== undefined) this.#open(comment, line);
    if (comment !== undefined || this.#position === this.#text.length) return -1;
    const mayBeCommand = beginsLikeCommand(this.#piece, this.#position);
    const [command, argument] = (mayBeCommand && find(lineCommands, this.#text, this.#position)) || [];
    if (argument !== undefined) {
      this.#delimiter = argument;
      this.#tokens = tokensWith(argument, this.#dollarQuotes);
      this.#kinds = kindsOfBytes(argument);
      this.#position += command!.length;
      return -1;
    }
    this.#queryLine = line;
    this.#start = this.#position;
    if (mayBeCommand && command === undefined) {
      const other = find(otherCommands, this.#text, this.#position);
      if (other !== null) throw this.#refusalAt(line, notSql(other[0]));
    } else if (command !== undefined && !command.includes(this.#delimiter)) {
      this.#position += command.length;
      return this.#position;
    }
    return -1;
  }

  /** Skips blanks and BOMs, and the opening of a comment. Returns that opening if there is one. */
  #skipGap(): string | undefined {
    const piece = this.#piece;
    while (isBlank(piece[this.#position])) this.#position++;
    if (!gapBytes.has(piece[this.#position]!)) return undefined;
    const [gap, comment] = find(gaps, this.#text, this.#position)!;
    this.#position += gap.length;
    return comment;
  }

  /** Moves from inside a query to its end, which it returns, or into the next quote or comment, and returns -1. */
  #findEnd(): number {
    const [piece, kinds] = [this.#piece, this.#kinds];
    let atLineStart = this.#position === 0 || piece[this.#position - 1] === 0x0a;
    for (let position = this.#position; position < piece.length; position++) {
      const kind = kinds[piece[position]!];
      if (kind === byteKinds.none || (kind === byteKinds.lineStart && !atLineStart)) {
        atLineStart = false;
        continue;
      }
      atLineStart = false;
      const found = kind === byteKinds.token ? this.#text[position] : find(this.#tokens, this.#text, position)?.[0];
      if (found === undefined) continue;
      this.#position = position + found.length;
      if (found === this.#delimiter || found === "\\g" || found === "\\G") return position;
      if (opens(found)) {
        this.#open(found, this.#lineAt(position));
        return -1;
      }
      if (found !== "\\N") throw this.#refusalAt(this.#lineAt(this.#position), notSql(found, true));
      position++;
    }
    this.#position = piece.length;
    return -1;
  }

  #open(quoteOrComment: string, line: number): void {
    this.#inside = quoteOrComment;
    this.#insideLine = line;
    this.#closing = closingOf(quoteOrComment);
  }

  /** Ends the query and returns it, undefined if it is empty. */
  #take(end: number): FileQuery | undefined {
    const isInPiece = this.#parts.length === 0;
    const bytes = isInPiece ? this.#piece : Buffer.concat([...this.#parts, this.#piece.subarray(0, end)]);
    const start = isInPiece ? this.#start : 0;
    let stop = isInPiece ? end : bytes.length;
    while (stop > start && isDropped(bytes[stop - 1]!)) stop--;
    const sql = isInPiece && this.#isAscii ? this.#text.slice(start, stop) : decode(bytes.subarray(start, stop));
    const at = `${this.#name}:${this.#queryLine}`;
    this.#parts = [];
    this.#size = 0;
    this.#queryLine = 0;
    return sql.length > 0 ? { sql, at } : undefined;
  }

  #lineAt(offset: number): number {
    for (; this.#newline >= 0 && this.#newline < offset; this.#newline = this.#text.indexOf("\n", this.#newline + 1)) {
      this.#line++;
    }
    return this.#line;
  }

  #refusalAt(line: number, what: string): UsageError {
    return new UsageError(`Cannot read ${this.#name}:${line}: ${what}`);
  }
}
