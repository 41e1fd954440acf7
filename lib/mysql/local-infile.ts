/** `LOAD DATA LOCAL INFILE`: the server asks for a file, and gets no other than the one that the statement names. */
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";

/** What a statement says before the name; MySQL's client is asked for files by other statements, too, where a server is not honest. */
const naming =
  /^(?:\s|\/\*[^!*][^*]*\*\/|--\s[^\n]*\n)*LOAD\s+(?:DATA|XML)\s+(?:(?:LOW_PRIORITY|CONCURRENT)\s+)?LOCAL\s+INFILE\s*(?:'((?:[^'\\]|''|\\.)*)'|"((?:[^"\\]|""|\\.)*)")/is;

/** How much of a text is looked at, in characters. */
const most = 100_000;

/** The file that a statement names; undefined for any other statement. */
export function fileIn(text: string): string | undefined {
  const [, single, double] = naming.exec(text.slice(0, most)) ?? [];
  const quoted = single?.replaceAll("''", "'") ?? double?.replaceAll('""', '"');
  return quoted?.replace(/\\(.)/gs, (_, character: string) => escapes[character] ?? character);
}

const escapes: Record<string, string> = { 0: "\0", b: "\b", n: "\n", r: "\r", t: "\t", Z: "\x1a" };

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
