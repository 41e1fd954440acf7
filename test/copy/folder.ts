/** Reads and writes the folder of a copy. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { addEntries, featuresIn, indexPath } from "./lists.ts";
import { type Files, filesOf, type Package, root, sections } from "./template.ts";

/** Returns the features of the copy in this folder. Undefined if the folder is new or empty. @throws Error for any other folder. */
export function featuresOf(folder: string): string[] | undefined {
  if (!relative(root, folder).startsWith("..")) throw new Error("it is in the folder that is copied");
  if (!existsSync(folder)) return undefined;
  if (!statSync(folder).isDirectory()) throw new Error("it is no folder");
  if (readdirSync(folder).length === 0) return undefined;
  const index = textOf(folder, indexPath);
  if (index === undefined || !existsSync(join(folder, "package.json"))) throw new Error("it is not empty, and no copy");
  return featuresIn(index);
}

/** Writes a new copy. */
export function writeCopy(folder: string, chosen: readonly string[]): void {
  for (const [path, text] of filesOf(chosen, basename(folder))) write(folder, path, text);
}

/**
 * Adds features to a copy. If `isRestored`, also writes the files that are missing in its `lib`. A file that differs from the template
 * stays as it is, because its owner or a newer template has changed it.
 *
 * @returns the paths of the files that differ (`left`) and of those that were missing (`restored`).
 * @throws Error before anything is written, if the copy's list of features or its package.json cannot be read.
 */
export function addToCopy(
  folder: string,
  had: readonly string[],
  added: readonly string[],
  isRestored: boolean,
): { left: string[]; restored: string[] } {
  const before = filesOf(had, basename(folder));
  const after = filesOf([...had, ...added], basename(folder));
  const index = addEntries(indexPath, textOf(folder, indexPath)!, added);
  const changed = new Map([["package.json", addPackages(textOf(folder, "package.json")!, before, after)]]);
  const left: string[] = [];
  const restored: string[] = [];
  const readme = textOf(folder, "README.md") ?? "";
  try {
    const isOwn = readme !== before.get("README.md");
    changed.set("README.md", isOwn ? addEntries("README.md", readme, added) : after.get("README.md")!);
  } catch {
    left.push("README.md");
  }
  for (const [path, text] of after) {
    if (!path.startsWith("lib/") || path === indexPath) continue;
    const own = textOf(folder, path);
    if (own !== undefined && own === before.get(path))
      changed.set(path, text); // a page whose text depends on the features
    else if (own !== undefined && own !== text) left.push(path);
    if (own !== undefined || !isRestored) continue;
    changed.set(path, text);
    if (before.has(path)) restored.push(path);
  }
  changed.set(indexPath, index); // last, so that the files that it imports exist
  for (const [path, text] of changed) if (text !== textOf(folder, path)) write(folder, path, text);
  return { left, restored };
}

/** Adds the features' packages and scripts to a package.json. Changes nothing else. */
function addPackages(own: string, before: Files, after: Files): string {
  const content = JSON.parse(own);
  const [old, wanted]: Package[] = [before, after].map((files) => JSON.parse(files.get("package.json")!));
  let isChanged = false;
  for (const section of sections) {
    for (const [name, value] of Object.entries(wanted![section])) {
      if (name in old![section] || content[section]?.[name] !== undefined) continue;
      content[section] = { ...content[section], [name]: value };
      isChanged = true;
    }
  }
  return isChanged ? `${JSON.stringify(content, null, /^\s+/m.exec(own)?.[0].replace(/\n/g, "") ?? 2)}\n` : own;
}

function textOf(folder: string, path: string): string | undefined {
  const file = join(folder, path);
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

function write(folder: string, path: string, text: string): void {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  if (path === "myscript.ts") chmodSync(file, 0o755);
}
