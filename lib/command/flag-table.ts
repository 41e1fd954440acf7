/** The flags of the command: the core's, and those of this copy's features. */
import { features as entries } from "../features/index.ts";
import { type CoreFlags, core, last } from "./core-flags.ts";
import { UsageError } from "./errors.ts";
import type { Feature } from "./feature.ts";
import { type Flag, type FlagTable, helpOf, readFlags } from "./flags.ts";

/** Headings of the help, by group. */
const groups: Readonly<Record<Flag["group"], string>> = {
  work: "Work",
  server: "Server; what is missing comes from MYSQL_HOST, MYSQL_PWD and the like",
  failures: "Failures",
  resume: "Resume",
  gently: "Gently",
  output: "Output",
};

/** Returns all flags of this copy, in the order of the help. */
export function tableOfFlags(): FlagTable {
  return Object.assign({}, core, ...features.map(({ flags }) => flags), last);
}

/** Returns the ways to name a server, for messages. */
export function waysToName(): string {
  const names = Object.entries(tableOfFlags()).flatMap(([name, { namesServer }]) => (namesServer ? `--${name}` : []));
  return `${names.join(", ")} or MYSQL_HOST`;
}

/** Parses the command line and checks that its flags go together. @throws UsageError for the first mistake. */
export function parseFlags(args: readonly string[]): CoreFlags {
  const flags = readFlags(tableOfFlags(), args) as CoreFlags;
  const { threads, workers, dryRun, json, files } = flags;
  if (threads !== undefined && threads > workers) {
    throw new UsageError(`--threads ${threads} contradicts --workers ${workers}: at most one thread a worker`);
  }
  if (dryRun && json) throw new UsageError("--json contradicts --dry-run, which runs nothing");
  const isSteered = features.some(({ steers }) => steers?.(flags, false));
  for (const { check } of features) check?.(flags, isSteered);
  if (files.filter((file) => file === "-").length > 1)
    throw new UsageError('Standard input, "-", can be read only once');
  return flags;
}

/** Returns the text of `--help`. */
export function help(): string {
  const table = tableOfFlags();
  const files = features.some(({ openFiles }) => openFiles)
    ? '[file.sql ...]     "-" is standard input; without files: buildQueries()'
    : "";
  const parts = Object.entries(groups)
    .map(([group, title]) => ({ title, lines: helpOf(table, group) }))
    .filter(({ lines }) => lines !== "")
    .map(({ title, lines }) => `${title}\n${lines}`);
  return `${`Usage: myscript.ts [options] ${files}`.trimEnd()}

${parts.join("\n")}

Exit status: 0 every query done; 1 some failed or were skipped; 2 wrong usage or no server; 3 some
are unknown, and may have run; 130 Ctrl-C, which lets what is in flight end; twice interrupts it.
Manual: lib/command/README.md`;
}

/** Features of this copy. Empty until `loadFeatures()`, because worker threads also import this file and need none. */
export const features: Feature[] = [];

export async function loadFeatures(): Promise<void> {
  const modules = await Promise.all(entries.map(({ command }) => command?.()));
  features.splice(0, features.length, ...modules.flatMap((module) => (module ? [module.feature as Feature] : [])));
  const names = [core, ...features.map(({ flags }) => flags), last].flatMap(Object.keys);
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined) throw new Error(`Two features have the flag --${twice}`);
}
