/** `LOAD DATA LOCAL INFILE`: the server asks for a file, and gets no other than the one that the statement names. */
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
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

/** What such a statement says before the name. */
const naming = /^LOAD (?:DATA|XML) (?:(?:LOW_PRIORITY|CONCURRENT) )?LOCAL INFILE$/;

/** What the server gets when it asks for a file, while it runs a statement: its error is the statement's. */
export function contentOf(wanted: string, text: string): Readable {
  const named = fileIn(text);
  if (named === wanted) return createReadStream(wanted);
  const what = named === undefined ? "names no file" : `names ${JSON.stringify(named)}`;
  const message = `The server asks for the file ${JSON.stringify(wanted)}, and the statement ${what}: it was not sent`;
  return new Readable({
    read() {
      this.destroy(new Error(message));
    },
  });
}

/** Of these, MariaDB has 4166 and 1148, MySQL 3948 and 1148: the client has not said that it sends files. */
const disabled = new Set<number | undefined>([1148, 3948, 4166]);

/** Adds to an error of the server what helps. */
export function explainDisabled(error: Error & { readonly errno?: number }): void {
  if (disabled.has(error.errno)) error.message += "; to let it read files here, give --local-infile";
}
