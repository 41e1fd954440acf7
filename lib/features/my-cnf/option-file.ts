/**
 * Reads MySQL option files such as `~/.my.cnf`, by the rules of the clients' own reader (MariaDB's `mysys/my_default.c`).
 *
 * No library does this. An INI parser reads quotes, escapes, `#` and `!include` differently. The packages on npm call
 * `my_print_defaults`, which few machines have. The tests compare this reader with that program.
 */
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { why } from "../../command/errors.ts";

/** Name of an option as it is written, and its value if it has one. */
export type Option = readonly [name: string, value: string | undefined];

/**
 * Returns the options of the given groups in the order of the file. If an option is given twice, the last one counts.
 *
 * The clients ignore a file that anyone may write to, and go on after an error in an included file. Here both are errors.
 *
 * @throws Error if a file cannot be read, has an invalid line, or if anyone may write to it. Its message never quotes a line.
 */
export function readOptionFile(path: string, groups: readonly string[], depth = 0): Option[] {
  const options: Option[] = [];
  let group: string | undefined;
  for (const [index, text] of readLines(path).entries()) {
    const line = trim(text);
    const fail = (what: string) =>
      new Error(`Cannot use option file ${JSON.stringify(path)}: ${what} in line ${index + 1}`);
    if (line === "" || line.startsWith("#") || line.startsWith(";")) continue;
    if (line.startsWith("!")) {
      const [, directive, argument] = /^![\t-\r ]*(includedir|include)(?:[\t-\r ]+(.*))?$/s.exec(line) ?? [];
      if (directive === undefined) continue;
      if (argument === undefined) throw fail(`!${directive} without a path`);
      // The clients' limit. It also stops a file that includes itself.
      if (depth === 10) throw fail("more than 10 files that include one another");
      for (const file of includedFiles(directive, argument)) options.push(...readOptionFile(file, groups, depth + 1));
    } else if (line.startsWith("[")) {
      const end = line.indexOf("]");
      if (end < 0) throw fail('no "]"');
      group = trim(line.slice(0, end)).slice(1).toLowerCase(); // "[ client]" is another group
    } else if (group === undefined) {
      throw fail(line.startsWith("\uFEFF") ? "a BOM, which no client takes," : "an option before the first [group]");
    } else if (groups.includes(group)) {
      options.push(parseOption(line));
    }
  }
  return options;
}

function readLines(path: string): string[] {
  try {
    const file = openSync(path, "r");
    try {
      const { mode } = fstatSync(file);
      const isRegularFile = (mode & 0o170000) === 0o100000; // a pipe or /dev/stdin is always writable for all
      if (isRegularFile && (mode & 0o002) !== 0) throw new Error('anyone may write to it; "chmod o-w" makes it safe');
      // As in C, a line ends at its first NUL.
      return readSmall(file)
        .split("\n")
        .map((line) => line.split("\0", 1)[0]!);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw new Error(`Cannot use option file ${JSON.stringify(path)}: ${why(error)}`, { cause: error });
  }
}

/** Largest option file. A device such as /dev/zero has no end. */
const mostBytes = 1024 * 1024;

function readSmall(file: number): string {
  const bytes = Buffer.allocUnsafe(mostBytes + 1);
  let length = 0;
  for (let read = 1; read > 0; length += read) {
    read = readSync(file, bytes, length, bytes.length - length, null);
    if (length + read > mostBytes) throw new Error("it is larger than 1 MB");
  }
  return bytes.toString("utf8", 0, length);
}

/** Returns the user's home directory, if there is one. */
export function homeOf(): string | undefined {
  try {
    return homedir();
  } catch {
    return undefined;
  }
}

function includedFiles(directive: string, argument: string): string[] {
  const path = argument.replace(/^~(?=\/)/, (tilde) => homeOf() ?? tilde);
  if (directive === "include") return existsSync(path) ? [path] : [];
  try {
    const names = readdirSync(path).filter((name) => name.endsWith(".cnf"));
    return names.sort().map((name) => join(path, name));
  } catch (error) {
    throw new Error(`Cannot read directory ${JSON.stringify(path)} of an option file`, { cause: error });
  }
}

function parseOption(line: string): Option {
  const text = trim(withoutComment(line));
  const equals = text.indexOf("=");
  if (equals < 0) return [text, undefined];
  let value = trim(text.slice(equals + 1));
  if (value.length > 1 && /^["']/.test(value) && value.at(-1) === value[0]) value = value.slice(1, -1);
  return [trim(text.slice(0, equals)), value.replace(/\\(.)/gs, (all, character) => escapes[character] ?? all)];
}

const escapes: Record<string, string> = {
  n: "\n",
  t: "\t",
  r: "\r",
  b: "\b",
  s: " ",
  '"': '"',
  "'": "'",
  "\\": "\\",
};

/** Cuts the line at the first `#` outside quotes. A backslash escapes a quote only inside quotes. */
function withoutComment(line: string): string {
  let quote = "";
  for (let index = 0; index < line.length; index++) {
    const character = line[index]!;
    if (quote === "") {
      if (character === "#") return line.slice(0, index);
      if (character === '"' || character === "'") quote = character;
    } else if (character === "\\") {
      index++;
    } else if (character === quote) {
      quote = "";
    }
  }
  return line;
}

/** Trims the characters of C's isspace(). `String.trim()` removes more, and could cut the end of a password. */
function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(text.charCodeAt(start))) start++;
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13);
}
