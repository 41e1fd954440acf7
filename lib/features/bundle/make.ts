/** Builds bundles into a folder, each with a description of its sources beside it. */
import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { build } from "./esbuild.ts";

/** Entry module of a bundle. */
export interface Entry {
  readonly source: string;
  /** True to build an ES module. A script needs one, because it may have a top-level await. */
  readonly isModule: boolean;
}

/** Sources of a bundle. */
export interface Sources {
  /** Paths of the sources, and of each `package.json` and `tsconfig.json` that applies to them, or would if it existed. */
  readonly files: readonly string[];
  /** Paths of the sources that are in packages. */
  readonly packaged: readonly string[];
  /** Folders of the sources. A new file in one of them may change what an import resolves to. */
  readonly folders: readonly string[];
}

/** Description of a bundle, in a file beside it. */
export interface Manifest extends Sources {
  readonly digest: string;
  /** Name of the bundle's file. */
  readonly file: string;
  readonly bytes: number;
}

/** Age in ms at which a bundle is removed. */
const keptMs = 30 * 24 * 3600 * 1000;

/**
 * Builds a bundle and writes it into `folder`. Removes bundles that are of no use any more.
 *
 * @param digestOf returns a hash of all sources, given the contents of those that were read already.
 * @returns its path.
 */
export async function make(
  folder: string,
  name: string,
  { source, isModule }: Entry,
  digestOf: (sources: Sources, read: ReadonlyMap<string, Uint8Array>) => string,
): Promise<string> {
  const { code, map, files, packaged } = await build(source, join(folder, name), isModule);
  const folders = [...new Set([...files.keys()].map((path) => dirname(path)))];
  const configurations = new Set(folders.flatMap(configurationsFor));
  // Sorted, because esbuild reads files in no fixed order.
  const sources = {
    files: [...files.keys(), ...configurations].sort(),
    packaged: packaged.toSorted(),
    folders: folders.sort(),
  };
  const digest = digestOf(sources, files);
  const file = `${name}-${digest}.${isModule ? "mjs" : "cjs"}`;
  const manifest: Manifest = { ...sources, digest, file, bytes: code.length };
  write(join(folder, file), code);
  if (map) write(join(folder, `${file}.map`), map);
  write(join(folder, `${name}.json`), JSON.stringify(manifest));
  const all = readdirSync(folder);
  const orphans = all.filter((other) => other.endsWith(".json") && isOrphan(join(folder, other)));
  const gone = orphans.map((other) => other.slice(0, -".json".length));
  for (const other of all) {
    const isSuperseded = other.startsWith(`${name}-`) && !other.startsWith(file);
    removeOld(join(folder, other), isSuperseded || gone.some((each) => other.startsWith(each)));
  }
  return join(folder, file);
}

/** Returns true if a folder that a bundle was built from is gone, for example that of a copy. */
function isOrphan(path: string): boolean {
  try {
    const { folders } = JSON.parse(readFileSync(path, "utf8")) as Manifest;
    return folders.some((folder) => !existsSync(folder));
  } catch {
    return false; // another process has removed it
  }
}

/** Returns the paths of configuration files that would apply to modules of a folder, in it and above it. */
function configurationsFor(folder: string): string[] {
  const above = dirname(folder);
  const here = ["package.json", "tsconfig.json", "tsconfig.base.json"].map((name) => join(folder, name));
  return above === folder ? here : [...here, ...configurationsFor(above)];
}

/** Writes a file atomically, for other runs that may read it. */
function write(path: string, content: string | Uint8Array): void {
  const unfinished = join(dirname(path), `${randomUUID()}.unfinished`);
  writeFileSync(unfinished, content, { mode: 0o600, flag: "wx" });
  renameSync(unfinished, path);
}

/** Removes an old bundle. A run that was about to load it loads the files instead. */
function removeOld(path: string, isUseless: boolean): void {
  try {
    if (isUseless || Date.now() - statSync(path).mtimeMs > keptMs) rmSync(path);
  } catch {} // another run has removed it
}
