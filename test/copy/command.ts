/** The command `npm run copy`: its arguments, its errors and its reports. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { features } from "../../lib/features/index.ts";
import { addToCopy, featuresOf, writeCopy } from "./folder.ts";
import { filesOf, linesOf } from "./template.ts";

const names = features.map(({ name }) => name);
const coreLines = linesOf(filesOf([]));
const usage = () => `Usage: npm run copy -- FOLDER [--with FEATURE,...]

Copies the script into a new or empty folder: a core, and the features that you choose. On a terminal
it asks for them. Elsewhere --with names them, or "all", or "none", which is the default.
In the folder of a copy it adds features. A file that its owner has changed stays as it is and is named.

Features, with their lines:
${names.map((name) => `  ${described(name)}`).join("\n")}`;

/** A feature in the list that a person chooses from. */
export interface Choice {
  readonly value: string;
  /** The line that a person sees. */
  readonly label: string;
}

type Ask = (message: string, choices: readonly Choice[]) => Promise<readonly string[] | undefined>;

/**
 * Makes a copy, or adds features to one.
 *
 * @param from the working directory, to which the folder in `args` is relative.
 * @param ask asks a person which features to add. Without it, the default is none.
 * @returns the exit status and the text to print: on stdout if the status is 0, otherwise on stderr.
 */
export async function copy(
  args: readonly string[],
  from: string,
  ask?: Ask,
): Promise<{ status: number; text: string }> {
  let folder = "";
  try {
    const options = { with: { type: "string", multiple: true }, help: { type: "boolean" } } as const;
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    if (values.help) return { status: 0, text: usage() };
    if (positionals.length !== 1 || positionals[0] === "")
      throw new Error("Name one folder: npm run copy -- FOLDER [--with FEATURE,...]");
    folder = positionals[0]!;
    const wanted = values.with && namesIn(values.with.join(","));
    const target = resolve(from, folder);
    const had = featuresOf(target);
    const missing = names.filter((name) => !had?.includes(name));
    const chosen = wanted ?? (ask && missing.length > 0 ? await ask(question(had), missing.map(choice)) : []);
    if (!chosen) return { status: 130, text: "Nothing was copied" };
    const added = missing.filter((name) => chosen.includes(name));
    if (had) {
      const changes = addToCopy(target, had, added, chosen.length > 0);
      return { status: 0, text: reportAdded(folder, had, added, changes) };
    }
    writeCopy(target, added);
    return { status: 0, text: reportCopied(folder, added) };
  } catch (error) {
    const [why] = (error as Error).message.split("\n");
    return { status: 2, text: folder === "" ? why! : `Cannot copy to ${folder}: ${why}` };
  }
}

/** Parses a list of features. @throws Error for an unknown name. */
function namesIn(list: string): readonly string[] {
  if (list === "all") return names;
  if (list === "none") return [];
  const given = list.split(",").map((name) => name.trim());
  const unknown = given.find((name) => !names.includes(name));
  if (unknown === undefined) return given;
  throw new Error(`there is no feature ${JSON.stringify(unknown)}, but ${names.join(", ")}`);
}

function question(had: readonly string[] | undefined): string {
  if (had) return "Which other features shall it have?";
  return `The core has ${count(coreLines)} lines. Which features shall it have?`;
}

function choice(name: string): Choice {
  return { value: name, label: described(name) };
}

/** Returns a feature's name, its number of lines and its purpose, in one line. */
function described(name: string): string {
  const { about } = features.find((feature) => feature.name === name)!;
  const width = Math.max(...names.map(({ length }) => length));
  return `${name.padEnd(width)} ${count(linesIn(name)).padStart(5)}  ${about}`;
}

/** Returns the number of lines that a feature adds to the core. */
function linesIn(feature: string): number {
  return linesOf(filesOf([feature])) - coreLines;
}

function reportCopied(folder: string, added: readonly string[]): string {
  const server = added.includes("sandbox") ? "" : " -h HOST";
  return [
    `Copied, with their lines: ${[`the core (${count(coreLines)})`, ...added.map(priced)].join(", ")}`,
    `To run it: cd ${quoted(folder)} && npm install && ./myscript.ts${server}`,
    ...howToAdd(folder, added),
  ].join("\n");
}

function reportAdded(
  folder: string,
  had: readonly string[],
  added: readonly string[],
  { left, restored }: ReturnType<typeof addToCopy>,
): string {
  const has = names.filter((name) => had.includes(name) || added.includes(name));
  const lines = [
    added.length > 0 ? `Added, with their lines: ${added.map(priced).join(", ")}` : "Nothing was added",
    `It has ${["the core", ...has].join(", ")}`,
  ];
  const list = (why: string, paths: readonly string[]) =>
    paths.length > 0 && lines.push(why, ...paths.map((path) => `  ${path}`));
  list("Written again, because they were missing:", restored);
  list("Left as they are, because they differ from the files here:", left);
  if (added.length > 0) lines.push(`To check it: cd ${quoted(folder)} && npm install && npm run check`);
  return [...lines, ...howToAdd(folder, has)].join("\n");
}

function priced(name: string): string {
  return `${name} (${count(linesIn(name))})`;
}

/** Returns the command that adds the features a copy lacks, if it lacks any. */
function howToAdd(folder: string, has: readonly string[]): string[] {
  const missing = names.filter((name) => !has.includes(name));
  return missing.length === 0 ? [] : [`To add features: npm run copy -- ${quoted(folder)} --with ${missing.join(",")}`];
}

function quoted(folder: string): string {
  return /^[\w./~-]+$/.test(folder) ? folder : `'${folder.replaceAll("'", "'\\''")}'`;
}

function count(number: number): string {
  return number.toLocaleString("en");
}
