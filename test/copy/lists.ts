/** The two lists of features in a copy: one in `lib/features/index.ts`, one in the README. */
import { existsSync, readFileSync } from "node:fs";
import { features } from "../../lib/features/index.ts";

const root = new URL("../../", import.meta.url);
export const indexPath = "lib/features/index.ts";

interface List {
  /** The text before the first entry. */
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

/** Returns the features in this text of `lib/features/index.ts`, in the template's order. */
export function featuresIn(index: string): string[] {
  return features.map(({ name }) => name).filter((name) => endOf(inIndex, index, name) !== undefined);
}

/** Returns the template's index without its entries. */
export function withoutEntries(index: string): string {
  return index.replace(inIndex.entry, "").replace("[] = [\n]", "[] = []");
}

/**
 * Adds an entry for each of these features that has none, in the template's order. The rest of the text stays as it is.
 *
 * @throws Error if the text has no list of features.
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

/** Returns the end of a feature's entry. Without a name, returns the end of the text before the first entry. */
function endOf({ start, entry, nameIn }: List, text: string, name?: string): number | undefined {
  const match =
    name === undefined ? start.exec(text) : [...text.matchAll(entry)].find(([all]) => nameIn.exec(all)?.[1] === name);
  return match ? match.index + match[0].length : undefined;
}

function entryOf(list: List, name: string): string {
  if (list === inReadme) {
    const { about } = features.find((feature) => feature.name === name)!;
    const page = `lib/features/${name}/README.md`;
    return `- \`${name}\`: ${about}${existsSync(new URL(page, root)) ? ` ([more](${page}))` : ""}\n`;
  }
  const index = readFileSync(new URL(indexPath, root), "utf8");
  return [...index.matchAll(list.entry)].map(([all]) => all).find((all) => list.nameIn.exec(all)?.[1] === name)!;
}
