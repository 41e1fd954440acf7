/**
 * All of lib as one JavaScript file, and the workers' side with a script as another one: they are loaded in a tenth of the time
 * that their files take.
 *
 * It is built once and kept for this user alone, in a folder of the system's temporary directory. What it was built from is
 * looked at each time: where a file has changed, it is built anew.
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

/** What a bundle was built from. */
interface Sources {
  /** Their paths; also that of a `tsconfig.json` that was not there. */
  readonly files: readonly string[];
  readonly packaged: readonly string[];
  /** Folders of modules: another name in them may be what an import means. */
  readonly folders: readonly string[];
}

interface Manifest extends Sources {
  readonly digest: string;
  /** The bundle's name. */
  readonly file: string;
  readonly bytes: number;
}

/** A bundle that was built so long ago is removed. */
const keptMs = 30 * 24 * 3600 * 1000;
const lib = fileURLToPath(new URL("../../", import.meta.url));
const builder = fileURLToPath(new URL("esbuild.ts", import.meta.url));
const debug = debuglog("myscript");

/** The bundle without a script, which this process and its threads share. */
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
 * @param script the module whose `workerInit()` and `workerDo()` replace the default ones: it is part of the bundle.
 * @returns the bundle's path; `undefined` where there is no need of one, or none can be had, and tsx has to do.
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

/** Where a thread that loads files may keep what V8 compiles of them; `undefined` where others could write to it. */
function compileCache(): string | undefined {
  try {
    return join(privateFolder(), "compile-cache");
  } catch (error) {
    debug("no compile cache: %s", error);
    return undefined;
  }
}

/** What is bundled. A script may await at its top level, as only an ES module can. */
interface Entry {
  readonly source: string;
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

/** A folder that nobody else can write to: what is in it is going to be run. */
function privateFolder(): string {
  const uid = process.geteuid?.();
  const path = join(tmpdir(), `myscript-bundles-${uid ?? userInfo().username}`);
  try {
    mkdirSync(path, 0o700);
  } catch {} // mostly, it is there
  const stat = lstatSync(path);
  const isPrivate = uid === undefined || (stat.uid === uid && (stat.mode & 0o077) === 0);
  if (!stat.isDirectory() || !isPrivate) throw new Error(`${path} is not a folder of this user alone`);
  return path;
}

/** The bundle, if it is there and nothing has changed. */
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
  // In the same order each time: esbuild reads as the disk does.
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

/** Files in a folder and above it that say how its modules are read. */
function configurationsFor(folder: string): string[] {
  const above = dirname(folder);
  const here = ["package.json", "tsconfig.json", "tsconfig.base.json"].map((name) => join(folder, name));
  return above === folder ? here : [...here, ...configurationsFor(above)];
}

/** @param read what of the files was read already. */
function digestOf({ files, packaged, folders }: Sources, read?: ReadonlyMap<string, Uint8Array>): string {
  const hash = createHash("sha256");
  for (const path of files) hash.update(`\0${path}\0`).update(read?.get(path) ?? contentOf(path));
  for (const path of packaged) hash.update(`\0${path}\0${stampOf(path)}`);
  for (const folder of folders) hash.update(`\0${folder}\0${modulesIn(folder)}`);
  return hash.digest("hex");
}

/** Nobody edits a package: its files are looked at from outside. */
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

/** Another run sees all of it or nothing. */
function write(path: string, content: string | Uint8Array): void {
  const unfinished = join(dirname(path), `${randomUUID()}.unfinished`);
  writeFileSync(unfinished, content, { mode: 0o600, flag: "wx" });
  renameSync(unfinished, path);
}

/** A run that has not loaded it yet does without. */
function removeOld(path: string, isUseless: boolean): void {
  try {
    if (isUseless || Date.now() - statSync(path).mtimeMs > keptMs) rmSync(path);
  } catch {} // another run has removed it
}
