/** Parses a command line and formats its help, both from a table of flags. */
import { type ParseArgsConfig, parseArgs } from "node:util";
import { limits } from "../parent/options.ts";
import { featureFlags, howToGetFlag } from "../shared/left-out.ts";
import { UsageError } from "./errors.ts";

/** Row of the table of flags. */
export interface Flag {
  readonly letter?: string;
  /** Name of the flag's value in the help. A flag without it is a switch. */
  readonly value?: string;
  /** Parses the value. Without it, the value is the text. */
  readonly read?: Reader<unknown>;
  readonly default?: unknown;
  /** Set if the flag may be given several times. */
  readonly repeats?: true;
  readonly group: "work" | "server" | "failures" | "resume" | "gently" | "output";
  /** Set if the flag can name the server. */
  readonly namesServer?: true;
  /** Name of what the flag names, if that may hold a password, for messages. */
  readonly mayHold?: string;
  /** Text in the help. A flag without it shares the line of the next flag. */
  readonly help?: string;
}

export type FlagTable = Readonly<Record<string, Flag>>;

type Camel<Name> = Name extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : Name;

type ReadBy<F extends Flag> = F extends { read: Reader<infer Value> } ? Value : string;

type ValueOf<F extends Flag> = F extends { repeats: true }
  ? readonly string[]
  : F extends { value: string }
    ? ReadBy<F> | (F extends { default: unknown } ? never : undefined)
    : boolean;

/** Values of a table's flags, by their names in camel case. */
export type FlagValues<Table extends FlagTable> = {
  readonly [Name in keyof Table as Camel<Name>]: ValueOf<Table[Name]>;
};

/** Unparsed values of the flags that were given, by name. */
type GivenFlags = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

/** Values of all flags, the other arguments as `files`, and the unparsed values as `given`. */
export type ReadFlags<Table extends FlagTable> = FlagValues<Table> & {
  readonly files: readonly string[];
  readonly given: GivenFlags;
};

/** Parses the command line into `ReadFlags<Table>`. @throws UsageError for the first mistake. */
export function readFlags(table: FlagTable, args: readonly string[]): object {
  const { values, positionals: files } = parse(table, args);
  const read = Object.entries(table).map(([name, flag]) => [
    camel(name),
    readValue(flag, `--${name}`, values[name] as GivenFlags[string]),
  ]);
  return { ...Object.fromEntries(read), files, given: values };
}

function readValue(flag: Flag, name: string, given: string | boolean | readonly string[] | undefined): unknown {
  if (given === undefined) return flag.default ?? (flag.repeats ? [] : flag.value === undefined ? false : undefined);
  return flag.read && typeof given === "string" ? flag.read(given, name) : given;
}

export function camel(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** Column at which the text of the help begins, and the longest line of the help in columns. */
const column = 27;
const width = 100;

/** Returns the lines of the help for a group of flags. */
export function helpOf(table: FlagTable, group: string): string {
  const lines: string[] = [];
  let names = "";
  for (const [name, { letter, value, help, default: preset, group: own }] of Object.entries(table)) {
    if (own !== group) continue;
    const written = `${letter ? `-${letter}, ` : ""}--${name}${value ? ` ${value}` : ""}`;
    names += names === "" ? (letter ? "  " : "      ") + written : `   ${written}`;
    if (help === undefined) continue;
    const text = help + (preset === undefined ? "" : ` (${preset})`);
    const line = names.length < column ? names.padEnd(column) + text : `${names}   ${text}`;
    lines.push(...(line.length <= width ? [line.trimEnd()] : [names, " ".repeat(column) + text]));
    names = "";
  }
  return lines.join("\n");
}

function parse(table: FlagTable, args: readonly string[]) {
  try {
    const options: NonNullable<ParseArgsConfig["options"]> = {};
    for (const [name, { letter: short, value, repeats: multiple = false }] of Object.entries(table)) {
      options[name] = { type: value === undefined ? "boolean" : "string", multiple, ...(short && { short }) };
    }
    const { tokens, ...parsed } = parseArgs({ args: [...args], options, allowPositionals: true, tokens: true });
    for (const token of tokens) {
      if (token.kind === "option") rejectEquals(token);
      rejectPassword(token, table);
    }
    return parsed;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const { code, message } = error as Error & { code?: string };
    const unknown = /^Unknown option '(-[^']*)'/.exec(message)?.[1];
    if (code === "ERR_PARSE_ARGS_UNKNOWN_OPTION" && unknown) {
      throw new UsageError(`Unknown option ${unknown}: ${suggest(unknown, table)}`);
    }
    const [, option, problem] = /^Option '(?:-\w, )?(--?[\w-]+)[^']*' ?(.*)/s.exec(message) ?? [];
    if (problem?.startsWith("argument missing")) throw new UsageError(`${option} needs a value`);
    if (problem?.startsWith("does not take")) throw new UsageError(`${option} takes no value`);
    const number = args.findIndex((arg, index) => index > 0 && /^-[.\d]/.test(arg) && args[index - 1] === option);
    if (problem?.includes("ambiguous") && number > 0) {
      // parseArgs takes a negative number for a flag. Parse it as a value, whose `read` explains the mistake.
      const joined = attached(option!).replace("VALUE", () => args[number]!);
      return parse(table, args.toSpliced(number - 1, 2, joined));
    }
    if (problem?.includes("ambiguous"))
      throw new UsageError(`${option} needs a value: one that begins with "-" is given as ${attached(option!)}`);
    throw new UsageError(message.split("\n")[0]!, { cause: error });
  }
}

/** Rejects `-j=2`. getopt and parseArgs would read the value "=2", which nobody means. */
function rejectEquals({ name, rawName, value }: { name: string; rawName: string; value?: string | undefined }): void {
  if (rawName.startsWith("--") || !value?.startsWith("=")) return;
  const meant = value.slice(1);
  throw new UsageError(`${rawName}=${meant} has one "=" too many: write ${rawName} ${meant} or --${name}=${meant}`);
}

/** Rejects an argument that may hold a password, such as a URL instead of a file. Does not print it. */
function rejectPassword(
  token: { kind: string; name?: string; rawName?: string; value?: string | undefined },
  table: FlagTable,
): void {
  const { kind, name, rawName, value = "" } = token;
  if (kind === "positional" && /^(?:\w+:\/\/|[^/]*:.*@)/s.test(value)) {
    throw new UsageError(
      "A server is named by --url, without a password: mysql://user@host:3306/database (a file of such a name: ./NAME)",
    );
  }
  if (name === "url" || name === "init-command") return;
  if (/^\w+:\/\/[^/]*:.*@/s.test(value) || (name === "user" && value.includes(":"))) {
    throw new UsageError(
      `${rawName} must not hold a password, which ps would show: put it into ${passwordPlaces(table)}`,
    );
  }
}

/** Returns the places for a password, for messages. */
export function passwordPlaces(table: FlagTable): string {
  return ["MYSQL_PWD", ...Object.values(table).flatMap(({ mayHold = [] }) => mayHold)].join(" or ");
}

function suggest(unknown: string, table: FlagTable): string {
  const name = unknown.replace(/^-+/, "");
  if (/^-p|^--p(?:as?s|w)/.test(unknown))
    return `a password goes into ${passwordPlaces(table)}, where ps does not show it`;
  const known = [...new Set([...Object.keys(table), ...featureFlags])];
  const begun = name === "" ? undefined : known.find((flag) => flag.startsWith(name));
  const distances = known.map((flag) => ({ flag, distance: distance(name, flag) }));
  const nearest = distances.reduce((best, other) => (other.distance < best.distance ? other : best));
  const typos = name.length < 5 ? 1 : name.length < 8 ? 2 : 3;
  const isNear = nearest.distance <= typos && nearest.distance < name.length;
  const meant = known.includes(name) ? name : (begun ?? (isNear ? nearest.flag : undefined));
  if (meant === undefined) return "--help lists the options";
  const question = meant === name ? [] : [`did you mean --${meant}?`];
  return [...question, ...(meant in table ? [] : [howToGetFlag(meant)])].join(" ");
}

function attached(option: string): string {
  return option.startsWith("--") ? `${option}=VALUE` : `${option}VALUE`;
}

/** Returns the Levenshtein distance: the number of letters to insert, remove or replace. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/** Parses a flag's value. `name` is the flag for messages, such as `--retries`. */
export type Reader<Value> = (text: string, name: string) => Value;

/** Returns a reader of whole numbers in a range. */
export function count(least: number, most?: number): Reader<number> {
  return (text, name) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= (most ?? Number.MAX_SAFE_INTEGER)) return value;
    const range = most === undefined ? `from ${least}` : `from ${least} to ${most}`;
    throw new UsageError(`${name} must be a whole number ${range}, not ${JSON.stringify(text)}`);
  };
}

/** Returns a reader of decimal numbers in a range. An exponent is not allowed. */
export function decimal(what: string, least: number, most: number): Reader<number> {
  return (text, name) => {
    const value = Number(text);
    if (/^\d*\.?\d+$/.test(text) && value >= least && value <= most) return value;
    throw new UsageError(`${name} must be a number of ${what} from ${least} to ${most}, not ${JSON.stringify(text)}`);
  };
}

export const seconds = decimal("seconds", 0.001, limits.seconds);

export const shard: Reader<{ index: number; count: number }> = (text, name) => {
  const [index = 0, count = 0] = (/^(\d{1,9})\/(\d{1,9})$/.exec(text) ?? []).slice(1).map(Number);
  if (index >= 1 && index <= count) return { index, count };
  throw new UsageError(`${name} must be I/N with I from 1 to N, such as 2/3, not ${JSON.stringify(text)}`);
};

export const notEmpty: Reader<string> = (text, name) => {
  if (text !== "") return text;
  throw new UsageError(`${name} must not be empty`);
};
