/**
 * Bundles lib into one JavaScript file, and the workers' side with a script into another one. A bundle loads in a tenth of the
 * time that its source files take.
 *
 * A bundle is built once and kept in a private folder of this user, in the system's temporary directory. Each start compares
 * the sources with it, and builds it again if one has changed.
 */
import { createHash, randomUUID } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { debuglog } from "node:util";
import { evaluate, mapLines } from "../../evaluate.js";
import type { Startup } from "../../shared/feature-entry.ts";

/** Sources of a bundle. */
interface Sources {
  /** Paths of the sources, and of each `package.json` and `tsconfig.json` that applies to them, or would if it existed. */
  readonly files: readonly string[];
  /** Paths of the sources that are in packages. */
  readonly packaged: readonly string[];
  /** Folders of the sources. A new file in one of them may change what an import resolves to. */
  readonly folders: readonly string[];
}

/** Description of a bundle, in a file beside it. */
interface Manifest extends Sources {
  readonly digest: string;
  /** Name of the bundle's file. */
  readonly file: string;
  readonly bytes: number;
}

/** Age in ms at which a bundle is removed. */
const keptMs = 30 * 24 * 3600 * 1000;
const lib = fileURLToPath(new URL("../../", import.meta.url));
const builder = fileURLToPath(new URL("esbuild.ts", import.meta.url));
const debug = debuglog("myscript");

/** Path of the bundle without a script. This process and its threads share it. */
let own: Promise<string | undefined> | undefined;
let evaluated: ReturnType<typeof evaluate> | undefined;

export const feature: Startup = {
  async parts(given) {
    own ??= bundle();
    const path = await own;
    if (path === undefined) return undefined;
    try {
      evaluated = evaluate(path, "process", given);
      mapLines(path);
      return evaluated.parts;
    } catch (error) {
      debug("no bundle: %s", error); // another process may have replaced it
      return undefined;
    }
  },
  async startFiles(script) {
    if (evaluated) process.once("exit", evaluated.keep);
    evaluated = undefined;
    if (script !== undefined) return { bundle: await bundle(script), compileCache: compileCache() };
    own ??= bundle();
    return { bundle: await own, compileCache: compileCache() };
  },
};

/**
 * Returns the path of a bundle. Builds it if there is none, or a source has changed.
 *
 * @param script module whose `workerInit()` and `workerDo()` replace the default ones. The bundle contains it.
 * @returns `undefined` if none is needed, or none can be built. The runtime or tsx then loads the files.
 */
export async function bundle(script?: string | URL): Promise<string | undefined> {
  const readsTypeScript = (process.features as { typescript?: unknown }).typescript;
  if ((script !== undefined && readsTypeScript) || process.versions.bun || process.versions.deno) return undefined;
  try {
    if (isDebugged()) throw new Error("a debugger is to find the files");
    if (process.env.TSX_TSCONFIG_PATH) throw new Error("there is a tsconfig.json that only tsx knows");
    const folder = privateFolder();
    const entry = entryOf(script);
    const name = createHash("sha256")
      .update(entry.source)
      .update(process.version)
      .update(contentOf(builder))
      .digest("hex")
      .slice(0, 32);
    return find(folder, name) ?? (await make(folder, name, entry));
  } catch (error) {
    debug("no bundle: %s", error);
    return undefined;
  }
}

function isDebugged(): boolean {
  return /--inspect(?:-brk|-wait)?(?:[= ]|$)/.test([...process.execArgv, process.env.NODE_OPTIONS].join(" "));
}

/** Returns the folder of Node's compile cache, for threads that load files. Returns `undefined` if others could write to it. */
function compileCache(): string | undefined {
  try {
    return join(privateFolder(), "compile-cache");
  } catch (error) {
    debug("no compile cache: %s", error);
    return undefined;
  }
}

/** Entry module of a bundle. */
interface Entry {
  readonly source: string;
  /** True to build an ES module. A script needs one, because it may have a top-level await. */
  readonly isModule: boolean;
}

function entryOf(script: string | URL | undefined): Entry {
  const path = (name: string) => JSON.stringify(join(lib, name));
  if (script === undefined) {
    const parts = `
      import { features } from ${path("features/index.ts")};
      export const parts = {
        command: () => import(${path("command/cli.ts")}),
        execute: () => import(${path("mysql/execute.ts")}),
        port: () => import(${path("mp.ts")}),
        worker: () => import(${path("worker/main.ts")}),
      };
      for (const { name, script } of features) if (script) parts[name] = script;`;
    return { source: parts, isModule: false };
  }
  const url = new URL(script);
  if (url.search || url.hash || url.pathname.includes("/node_modules/"))
    throw new Error(`${url} is not a person's file`);
  const source = `export { main } from ${path("worker/main.ts")};`;
  const load = ` export const importScript = () => import(${JSON.stringify(fileURLToPath(url))});`;
  return { source: source + load, isModule: true };
}

/** Returns a folder that nobody else can write to, because its content is executed. @throws Error if others could. */
function privateFolder(): string {
  const uid = process.geteuid?.();
  const path = join(tmpdir(), `myscript-bundles-${uid ?? userInfo().username}`);
  try {
    mkdirSync(path, 0o700);
  } catch {} // it mostly exists already
  const stat = lstatSync(path);
  const isPrivate = uid === undefined || (stat.uid === uid && (stat.mode & 0o077) === 0);
  if (!stat.isDirectory() || !isPrivate) throw new Error(`${path} is not a folder of this user alone`);
  return path;
}

/** Returns the path of an existing bundle, if none of its sources has changed. */
function find(folder: string, name: string): string | undefined {
  try {
    const manifest: Manifest = JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8"));
    const path = join(folder, manifest.file);
    const isWhole = statSync(path).size === manifest.bytes;
    return isWhole && digestOf(manifest) === manifest.digest ? path : undefined;
  } catch {
    return undefined;
  }
}

async function make(folder: string, name: string, { source, isModule }: Entry): Promise<string> {
  const { build } = await import("./esbuild.ts");
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

/** Returns a hash of all sources. @param read contents of files that were read already. */
function digestOf({ files, packaged, folders }: Sources, read?: ReadonlyMap<string, Uint8Array>): string {
  const hash = createHash("sha256");
  for (const path of files) hash.update(`\0${path}\0`).update(read?.get(path) ?? contentOf(path));
  for (const path of packaged) hash.update(`\0${path}\0${stampOf(path)}`);
  for (const folder of folders) hash.update(`\0${folder}\0${modulesIn(folder)}`);
  return hash.digest("hex");
}

/** Returns size and times of a package's file. Its content need not be read, because nobody edits a package. */
function stampOf(path: string): string {
  const { size, mtimeMs, ctimeMs } = statSync(path);
  return `${size} ${mtimeMs} ${ctimeMs}`;
}

function contentOf(path: string): Uint8Array | string {
  try {
    return readFileSync(path);
  } catch {
    return "\0";
  }
}

function modulesIn(folder: string): string {
  const names = readdirSync(folder).filter((name) => /\.(?:[cm]?[jt]sx?|json)$/.test(name));
  return names.sort().join("\0");
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
