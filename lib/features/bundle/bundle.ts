/**
 * Bundles lib into one JavaScript file, and the workers' side with a script into another one. A bundle loads in a tenth of the
 * time that its source files take.
 *
 * A bundle is built once and kept in a private folder of this user, in the system's temporary directory. Each start compares
 * the sources with it, and builds it again if one has changed.
 */
import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { debuglog } from "node:util";
import type { Startup } from "../../shared/feature-entry.ts";
import { evaluate, mapLines } from "./evaluate.js";
import type { Entry, Manifest, Sources } from "./make.ts";

const lib = fileURLToPath(new URL("../../", import.meta.url));
const loader = new URL("evaluate.js", import.meta.url).href;
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
    if (script === undefined) own ??= bundle();
    const path = await (script === undefined ? own : bundle(script));
    return { bundle: path === undefined ? path : { path, loader }, compileCache: compileCache() };
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
    const nodeOptions = [...process.execArgv, process.env.NODE_OPTIONS].join(" ");
    if (/--inspect(?:-brk|-wait)?(?:[= ]|$)/.test(nodeOptions)) throw new Error("a debugger is to find the files");
    if (process.env.TSX_TSCONFIG_PATH) throw new Error("there is a tsconfig.json that only tsx knows");
    const folder = privateFolder();
    const entry = entryOf(script);
    const name = createHash("sha256")
      .update(entry.source)
      .update(process.version)
      .update(contentOf(builder))
      .digest("hex")
      .slice(0, 32);
    const found = find(folder, name);
    if (found !== undefined) return found;
    const { make } = await import("./make.ts");
    return await make(folder, name, entry, digestOf);
  } catch (error) {
    debug("no bundle: %s", error);
    return undefined;
  }
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

/** Returns a hash of all sources. @param read contents of files that were read already. */
function digestOf({ files, packaged, folders }: Sources, read?: ReadonlyMap<string, Uint8Array>): string {
  const hash = createHash("sha256");
  for (const path of files) hash.update(`\0${path}\0`).update(read?.get(path) ?? contentOf(path));
  for (const path of packaged) {
    const { size, mtimeMs, ctimeMs } = statSync(path); // its content need not be read, because nobody edits a package
    hash.update(`\0${path}\0${size} ${mtimeMs} ${ctimeMs}`);
  }
  for (const folder of folders) {
    const modules = readdirSync(folder).filter((name) => /\.(?:[cm]?[jt]sx?|json)$/.test(name));
    hash.update(`\0${folder}\0${modules.sort().join("\0")}`);
  }
  return hash.digest("hex");
}

function contentOf(path: string): Uint8Array | string {
  try {
    return readFileSync(path);
  } catch {
    return "\0";
  }
}
