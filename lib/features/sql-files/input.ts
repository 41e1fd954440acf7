/** Reads queries from SQL files and standard input, in constant memory. */
import { constants as limits } from "node:buffer";
import { createReadStream, fstatSync } from "node:fs";
import { access, constants, stat } from "node:fs/promises";
import { UsageError, why } from "../../command/errors.ts";
import { type FileQuery, Splitter } from "./splitter.ts";
import { tooLong } from "./tokens.ts";

export interface ReadOptions {
  /** @default process.stdin */
  stdin?: AsyncIterable<Uint8Array>;
  /**
   * Returns true if `$$ ... $$` and `$tag$ ... $tag$` are quotes for the server. Called once, before the first text with a `$`.
   *
   * @default () => false
   */
  dollarQuotes?: () => boolean | Promise<boolean>;
  /** Is called with the number of bytes of each piece that was read. */
  onRead?: (bytes: number) => void;
}

/**
 * Reads SQL files, `-` being standard input, and yields their queries in order, in batches of some thousand, because an await for
 * each query takes longer than everything else. They are as written, without the delimiter and
 * without blanks and comments before them. A line end CR LF becomes LF, also in quotes. `DELIMITER` is carried out, and a line
 * `USE name` is a query. All this is as in the `mariadb` client. A backslash in quotes escapes. A server with NO_BACKSLASH_ESCAPES
 * needs files without backslashes in quotes.
 *
 * @throws UsageError with the file, before the first query, if a file cannot be read. UsageError with file and line, after the
 * queries before that line, which then run:
 * - if reading fails later, and for a query that is too long for a string;
 * - for a NUL byte, which the client refuses, too;
 * - for a quote or comment without an end, or without a clear one. The file was cut short. The client would send the rest, such as
 *   a DELETE without its WHERE;
 * - for DELIMITER without its argument, with one like a comment, or inside a query;
 * - for other commands of the client, such as `source` and `\c`.
 * The errors of `dollarQuotes`.
 */
export async function* readBatches(
  files: readonly string[],
  { stdin = process.stdin, dollarQuotes = () => false, onRead = () => {} }: ReadOptions = {},
): AsyncGenerator<FileQuery[]> {
  for (const file of files) if (file !== "-" || stdin === process.stdin) await checkReadable(file);
  let hasDollarQuotes: boolean | undefined;
  for (const file of files) {
    const [chunks, name] = file === "-" ? [stdin, "stdin"] : [createReadStream(file), file];
    const splitter = new Splitter(name);
    for await (const piece of pieces(chunks, (what) => splitter.refusal(what))) {
      if (piece.includes("$")) {
        hasDollarQuotes ??= await dollarQuotes();
        splitter.dollarQuotes = hasDollarQuotes;
      }
      onRead(piece.length);
      yield* batchOf((queries) => splitter.split(piece, queries));
    }
    yield* batchOf((queries) => splitter.end(queries));
  }
}

/** Yields the queries that `read` has added, also if it throws afterwards. */
function* batchOf(read: (queries: FileQuery[]) => void): Generator<FileQuery[]> {
  const queries: FileQuery[] = [];
  try {
    read(queries);
  } finally {
    if (queries.length > 0) yield queries;
  }
}

async function checkReadable(file: string): Promise<void> {
  try {
    if (file !== "-") await access(file, constants.R_OK);
    // Otherwise Node reads a directory on stdin as empty.
    if ((file === "-" ? fstatSync(0) : await stat(file)).isDirectory()) throw new Error("it is a directory");
  } catch (error) {
    throw new UsageError(`Cannot read ${file === "-" ? "stdin" : file}: ${why(error)}`, { cause: error });
  }
}

/**
 * Cuts a stream after line ends, and converts these to LF, as the client does. So a cut can only be within a quote, a comment or a
 * query, and never within a token.
 *
 * @throws the `refusal` for a NUL byte, after the lines before it, and for a read error.
 */
async function* pieces(
  chunks: AsyncIterable<Uint8Array>,
  refusal: (what: string) => UsageError,
): AsyncGenerator<Buffer> {
  let held: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of chunks) {
      size += chunk.length;
      const nul = chunk.indexOf(0);
      let end = 1 + chunk.lastIndexOf(0x0a, nul < 0 ? undefined : nul);
      // The whole file may be one line. After a megabyte, it is cut at a space, too.
      if (end === 0 && nul < 0 && size > 1024 * 1024) end = 1 + chunk.lastIndexOf(0x20);
      if (end > 0) {
        yield toPiece([...held, chunk.subarray(0, end)]);
        held = [];
        size = chunk.length - end;
      }
      if (nul >= 0) throw refusal("a NUL byte, which is no SQL (the file is damaged, or UTF-16)");
      if (size > limits.MAX_STRING_LENGTH) throw refusal(tooLong);
      held.push(chunk.subarray(end));
    }
  } catch (error) {
    throw error instanceof UsageError ? error : refusal(why(error));
  }
  yield toPiece([...held, Buffer.from("\n")]);
}

function toPiece(parts: Uint8Array[]): Buffer {
  const [first] = parts as [Uint8Array];
  const piece = parts.length > 1 ? Buffer.concat(parts) : Buffer.from(first.buffer, first.byteOffset, first.byteLength);
  if (!piece.includes("\r\n")) return piece;
  return Buffer.from(piece.toString("latin1").replaceAll("\r\n", "\n"), "latin1");
}
