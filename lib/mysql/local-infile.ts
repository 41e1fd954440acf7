/** Sends files for `LOAD DATA LOCAL INFILE`. The server gets only the file that the statement names. */
import { constants, createReadStream, openSync, statSync } from "node:fs";
import { Socket } from "node:net";
import { Readable } from "node:stream";
import type { DatabaseError } from "./errors.ts";
import { Lexer } from "./lexer.ts";

/**
 * Returns the file that a `LOAD DATA LOCAL INFILE` names, or undefined for any other statement. A malicious server may ask for
 * files after any statement.
 */
export function fileIn(text: string): string | undefined {
  const lexer = new Lexer(text);
  const words: string[] = [];
  for (let token = lexer.next(); token && words.length < 6; token = lexer.next()) {
    if (token.kind === "string" && naming.test(words.join(" "))) return token.text;
    words.push(token.kind === "word" ? token.text : "?");
  }
  return undefined;
}

/** The most bytes of a text that are searched for the file's name. */
const mostBytes = 400_000;

/** Words before the file's name. */
const naming = /^LOAD (?:DATA|XML) (?:(?:LOW_PRIORITY|CONCURRENT) )?LOCAL INFILE$/;

/**
 * Opens the file that the server asks for while it runs a statement. Never throws: an error is emitted by the stream, and the
 * statement fails with it.
 */
export function contentOf(wanted: string, text: Uint8Array): Readable {
  try {
    const named = fileIn(Buffer.from(text.subarray(0, mostBytes)).toString());
    if (named !== wanted) {
      const what = named === undefined ? "names no file" : `names ${JSON.stringify(named)}`;
      throw new Error(
        `The server asks for the file ${JSON.stringify(wanted)}, and the statement ${what}: it was not sent`,
      );
    }
    // Opening a pipe without a writer would block a thread of libuv, and the process could not end.
    const found = statSync(wanted);
    if (found.isDirectory()) throw new Error(`EISDIR: illegal operation on a directory, open '${wanted}'`);
    if (!found.isFIFO()) return createReadStream(wanted);
    return new Socket({ fd: openSync(wanted, constants.O_RDONLY | constants.O_NONBLOCK), writable: false });
  } catch (error) {
    return new Readable({
      read() {
        this.destroy(error as Error);
      },
    });
  }
}

/**
 * Destroys a file of which nothing has been read yet, such as a pipe without a writer. While the server waits for a file, it
 * does not notice a KILL QUERY.
 */
export function endUnread(connection: object, error: Error): void {
  const file = (connection as { readonly _command?: FileQuery | null })._command?._localStream;
  if (file?.readableDidRead === false) file.destroy(error);
}

/** Private properties of mysql2's query about its file. */
export interface FileQuery {
  readonly _localStream: Readable | null;
  readonly _localStreamError?: DatabaseError & Error;
  _unpipeStream(): void;
}

/**
 * Closes the file of a query that has ended, and returns the file's error.
 *
 * @param failure error of the query. If it is fatal, the server already had the whole statement, even if writing the file
 * caused it.
 */
export function endFile(query: FileQuery, failure?: DatabaseError): Error | undefined {
  const { _localStream: file, _localStreamError: error } = query;
  query._unpipeStream(); // mysql2 would leave its listeners on the connection's socket
  file?.on("error", () => {}).destroy();
  if (failure?.fatal) failure.mayHaveRun = true;
  if (!error || !file?.readableDidRead) return error;
  const message = `${error.message}; what the server got of the file before that may be loaded`;
  return Object.assign(new Error(message), { code: error.code, mayHaveRun: true });
}

/** Errors of a connection without LOCAL_FILES: 1148 and 4166 of MariaDB, 1148 and 3948 of MySQL. */
const disabled = new Set<number | undefined>([1148, 3948, 4166]);

/** Adds the flag that helps to such an error. */
export function explainDisabled(error: Error & { readonly errno?: number }): void {
  if (disabled.has(error.errno)) error.message += "; to let it read files here, give --local-infile";
}
