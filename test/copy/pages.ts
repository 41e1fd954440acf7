/** The pages of a copy speak of what the copy has. */
import { posix } from "node:path";
import type { Files } from "./template.ts";

const link = /\[([^\][]*)\]\(([^)\s]+)\)/g;

/**
 * Returns a page as a copy has it:
 *
 * - `<!-- needs ledger, joblog -->` begins a part that ends before the next heading but its own. It is left out without these features.
 * - A row of a table, or an item of a list, that links to a file the copy lacks is left out.
 * - Any other link to such a file is left as text.
 */
export function pageOf(path: string, text: string, files: Files, chosen: readonly string[]): string {
  const has = ([, , target]: RegExpMatchArray) => existsIn(files, path, target!);
  return text
    .replace(
      /^<!-- needs (.+) -->\n#.*\n(?:(?!<!-- needs|#{1,6} )(?:```[\s\S]*?\n```\n|.*\n))*/gm,
      (part, needed: string) => (needed.split(", ").every((name) => chosen.includes(name)) ? part : ""),
    )
    .replace(/^(?:\| .*\n|- .*\n(?: {2}.*\n)*)/gm, (entry) => ([...entry.matchAll(link)].every(has) ? entry : ""))
    .replace(link, (...match) => (has(match as unknown as RegExpMatchArray) ? match[0] : match[1]));
}

/** True for a link to another site, into the same page, or to a file or a folder of the copy. */
export function existsIn(files: Files, path: string, target: string): boolean {
  const [file] = target.split("#");
  if (file === "" || /^\w+:/.test(target)) return true;
  const wanted = posix.join(path, "..", file!);
  return files.has(wanted) || [...files.keys()].some((other) => other.startsWith(`${wanted}/`));
}
