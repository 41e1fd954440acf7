/** The two files of a copy that list its features, an entry for each: the index of the code, and the README. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { features } from "../../lib/features/index.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const indexPath = "lib/features/index.ts";

interface List {
  /** Where the list begins. */
  readonly start: RegExp;
  readonly entry: RegExp;
  readonly nameIn: RegExp;
}

const inIndex: List = {
  start: /FeatureEntry\[\] = \[\n/,
  entry: /^([ \t]+)\{(?: .*\},?\n|\n[\s\S]*?^\1\},?\n)/gm,
  nameIn: /\bname: ["']([\w-]+)["']/,
};
const inReadme: List = { start: /^- the core: .*\n/m, entry: /^- `[\w-]+`: .*\n/gm, nameIn: /`([\w-]+)`/ };

/** The features of the copy with this index, in the template's order. */
export function featuresIn(index: string): string[] {
  return features.map(({ name }) => name).filter((name) => endOf(inIndex, index, name) !== undefined);
}

/** Takes all entries out of the template's index. */
export function withoutEntries(index: string): string {
  return index.replace(inIndex.entry, "").replace("[] = [\n]", "[] = []");
}

/**
 * Adds an entry for each of these features that has none, in the template's order, and leaves the rest of the text as it is.
 *
 * @throws Error if there is no such list.
 */
export function addEntries(path: string, text: string, chosen: readonly string[]): string {
  const list = path === indexPath ? inIndex : inReadme;
  const names = features.map(({ name }) => name);
  let added = text;
  for (const [place, name] of names.entries()) {
    if (!chosen.includes(name) || endOf(list, added, name) !== undefined) continue;
    if (list === inIndex) added = added.replace("[] = []", "[] = [\n]");
    const before = names.slice(0, place).findLast((earlier) => endOf(list, added, earlier) !== undefined);
    const at = before === undefined ? endOf(list, added) : endOf(list, added, before);
    if (at === undefined) throw new Error(`${path} has no list of features`);
    added = added.slice(0, at).replace(/\}\n$/, "},\n") + entryOf(list, name) + added.slice(at);
  }
  return added;
}

/** Where the entry of a feature ends, or what stands before the first one. */
function endOf({ start, entry, nameIn }: List, text: string, name?: string): number | undefined {
  const match =
    name === undefined ? start.exec(text) : [...text.matchAll(entry)].find(([all]) => nameIn.exec(all)?.[1] === name);
  return match ? match.index + match[0].length : undefined;
}

function entryOf(list: List, name: string): string {
  if (list === inReadme) {
    const { about } = features.find((feature) => feature.name === name)!;
    const page = `lib/features/${name}/README.md`;
    return `- \`${name}\`: ${about}${existsSync(join(root, page)) ? ` ([more](${page}))` : ""}\n`;
  }
  const index = readFileSync(new URL("../../lib/features/index.ts", import.meta.url), "utf8");
  return [...index.matchAll(list.entry)].map(([all]) => all).find((all) => list.nameIn.exec(all)?.[1] === name)!;
}
