/** Removes from the pages of a copy the features that it does not have. */
import { posix } from "node:path";
import type { Files } from "./template.ts";

const link = /\[([^\][]*)\]\(([^)\s]+)\)/g;

/**
 * Returns the text of a page for a copy with these files and features:
 *
 * - `<!-- needs ledger, joblog -->` stands before a heading. Its section, up to the next heading, is left out without these features.
 *   Before other text, it leaves out what stands before `<!-- end -->`. `ledger or joblog` is met by one of
 *   them, `no ledger` by a copy without it.
 * - A row of a table or an item of a list is left out if it links to a missing file.
 * - Any other link to a missing file becomes plain text.
 */
export function pageOf(path: string, text: string, files: Files, chosen: readonly string[]): string {
  const isTrue = (name: string) => (name.startsWith("no ") ? !chosen.includes(name.slice(3)) : chosen.includes(name));
  const meets = (needed: string) => needed.split(", ").every((names) => names.split(" or ").some(isTrue));
  const has = ([, , target]: RegExpMatchArray) => existsIn(files, path, target!);
  return text
    .replace(
      /^<!-- needs (.+) -->\n#.*\n(?:(?!<!-- needs|#{1,6} )(?:```[\s\S]*?\n```\n|.*\n))*/gm,
      (part, needed: string) => (meets(needed) ? part : ""),
    )
    .replace(/<!-- needs (.+?) -->(?!\n)([\s\S]*?)<!-- end -->/g, (_, needed, part) => (meets(needed) ? part : ""))
    .replace(/^(?:\| .*\n|- .*\n(?: {2}.*\n)*)/gm, (entry) => ([...entry.matchAll(link)].every(has) ? entry : ""))
    .replace(link, (...match) => (has(match as unknown as RegExpMatchArray) ? match[0] : match[1]));
}

/** True if the link leads to another site, to the same page, or to a file or a folder of the copy. */
export function existsIn(files: Files, path: string, target: string): boolean {
  const [file] = target.split("#");
  if (file === "" || /^\w+:/.test(target)) return true;
  const wanted = posix.join(path, "..", file!);
  return files.has(wanted) || [...files.keys()].some((other) => other.startsWith(`${wanted}/`));
}
