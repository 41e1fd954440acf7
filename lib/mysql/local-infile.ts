/** `LOAD DATA LOCAL INFILE`: the server asks for a file, and gets no other than the one that the statement names. */
import { constants, createReadStream, openSync, statSync } from "node:fs";
import { Socket } from "node:net";
import { Readable } from "node:stream";
import type { DatabaseError } from "./errors.ts";
import { Lexer } from "./lexer.ts";

/**
 * The file that a statement names; undefined for any other statement. MySQL's client is asked for files by other statements, too,
 * where a server is not honest.
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

/** How much of a text is looked at, in bytes. */
const mostBytes = 400_000;

/** What such a statement says before the name. */
const naming = /^LOAD (?:DATA|XML) (?:(?:LOW_PRIORITY|CONCURRENT) )?LOCAL INFILE$/;

/** By connection, the file that its server has asked for last. */
const files = new WeakMap<object, Readable>();

/**
 * Opens what the server gets when it asks for a file, while it runs a statement. Whatever goes wrong is the stream's error, and
 * the statement fails with it.
 */
export function contentOf(connection: object, wanted: string, text: Uint8Array): Readable {
  const file = open(wanted, Buffer.from(text.subarray(0, mostBytes)).toString());
  files.set(connection, file);
  return file;
}

function open(wanted: string, text: string): Readable {
  try {
    const named = fileIn(text);
    if (named !== wanted) {
      const what = named === undefined ? "names no file" : `names ${JSON.stringify(named)}`;
      throw new Error(
        `The server asks for the file ${JSON.stringify(wanted)}, and the statement ${what}: it was not sent`,
      );
    }
    // Opening a pipe that nobody writes to blocks a thread of libuv, and then the process cannot end.
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
 * Ends a file of which nothing has been read yet, such as a pipe that nobody writes to: the server waits for it, and does not
 * look whether it is interrupted.
 */
export function endUnread(connection: object, error: Error): void {
  const file = files.get(connection);
  if (file?.readableDidRead === false) file.destroy(error);
}

/** What mysql2's query has of a file. */
export interface FileQuery {
  readonly _localStream: Readable | null;
  readonly _localStreamError?: DatabaseError & Error;
  _unpipeStream(): void;
}

/**
 * Ends the file of a query that has ended, and returns what has gone wrong with it.
 *
 * @param failure what the query has met: by then the server had all of it, also if it is the file that could not be written.
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

/** Of these, MariaDB has 4166 and 1148, MySQL 3948 and 1148: the client has not said that it sends files. */
const disabled = new Set<number | undefined>([1148, 3948, 4166]);

/** Adds to an error of the server what helps. */
export function explainDisabled(error: Error & { readonly errno?: number }): void {
  if (disabled.has(error.errno)) error.message += "; to let it read files here, give --local-infile";
}
