/** SQL files and standard input -> queries, one after the other, in constant memory. */
import { constants as limits } from "node:buffer";
import { createReadStream, fstatSync } from "node:fs";
import { access, constants, stat } from "node:fs/promises";
import { UsageError, why } from "../../command/errors.ts";
import { type FileQuery, Splitter, tooLong } from "./splitter.ts";

export type { FileQuery };

export interface ReadOptions {
  /** @default process.stdin */
  stdin?: AsyncIterable<Uint8Array>;
  /**
   * Whether the server knows `$$ ... $$` and `$tag$ ... $tag$` as quotes. Asked once, before the first text with a `$`.
   *
   * @default it does not
   */
  dollarQuotes?: () => boolean | Promise<boolean>;
  /** Is told how many bytes are read of a file, piece by piece. */
  onRead?: (bytes: number) => void;
}

/**
 * Reads SQL files, `-` being standard input, and yields their queries in order: as written, without the delimiter and
 * without blanks and comments before them; a line end CR LF is LF, also in quotes, as for the client. It carries out
 * `DELIMITER`, and takes a line `USE name` for a query, as the client does. A backslash in quotes escapes: a server with
 * NO_BACKSLASH_ESCAPES needs files that have none there.
 *
 * @throws UsageError before the first query, naming the file, when one cannot be read. Naming file and line: when reading
 * fails later; for a NUL byte, which the client takes in no text; for a query that no string can hold; for a quote or comment
 * without an end (the file was cut short, and the client would send what there is, such as a DELETE without its WHERE) or
 * without a clear one; for DELIMITER without its argument, with one like a comment, or inside a query; for the client's other
 * commands, such as `source` and `\c`. What `dollarQuotes` throws. The queries before such a place are yielded first, and are
 * run.
 */
export async function* readQueries(files: readonly string[], options?: ReadOptions): AsyncGenerator<FileQuery> {
  for await (const batch of readBatches(files, options)) yield* batch;
}

/** The same, some thousand at a time: a turn of the event loop for each takes longer than all that is done with it. */
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

/** Yields what `read` has added, also before what it throws. */
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
    // Node gives an empty stdin then.
    if ((file === "-" ? fstatSync(0) : await stat(file)).isDirectory()) throw new Error("it is a directory");
  } catch (error) {
    throw new UsageError(`Cannot read ${file === "-" ? "stdin" : file}: ${why(error)}`, { cause: error });
  }
}

/**
 * Cuts a stream after line ends, and makes these LF, as the client does: so nothing but quotes, comments and queries is cut.
 *
 * @throws what `refusal` makes of a NUL byte, after the lines before it; of what cannot be read.
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
      // The whole file may be one line: after a megabyte, a space does as well.
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
