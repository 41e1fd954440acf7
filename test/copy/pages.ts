/** Removes from the pages of a copy the features that it does not have. */
import { posix } from "node:path";
import type { Files } from "./template.ts";

const link = /\[([^\][]*)\]\(([^)\s]+)\)/g;

/**
 * Returns the text of a page for a copy with these files and features:
 *
 * - `<!-- needs ledger, joblog -->` stands before a heading. Its section, up to the next heading, is left out without these features.
 * - A row of a table or an item of a list is left out if it links to a missing file.
 * - Any other link to a missing file becomes plain text.
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

/** True if the link leads to another site, to the same page, or to a file or a folder of the copy. */
export function existsIn(files: Files, path: string, target: string): boolean {
  const [file] = target.split("#");
  if (file === "" || /^\w+:/.test(target)) return true;
  const wanted = posix.join(path, "..", file!);
  return files.has(wanted) || [...files.keys()].some((other) => other.startsWith(`${wanted}/`));
}
