/** Bundles TypeScript into one JavaScript file that does in a thread what its files do there under tsx. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire, isBuiltin } from "node:module";
import { dirname, extname, isAbsolute, relative, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Loader, Plugin, PluginBuild } from "esbuild";

export interface Built {
  readonly code: Uint8Array;
  readonly map: Uint8Array | undefined;
  /** The files that went into it, as they were read. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Those of packages. */
  readonly packaged: readonly string[];
}

const lib = fileURLToPath(new URL("../..", import.meta.url));
const listOfFeatures = fileURLToPath(new URL("../index.ts", import.meta.url));
const require = createRequire(import.meta.url);

/**
 * @param entry the source of a module that imports the rest by absolute paths.
 * @param path where the result is going to be.
 * @param isModule makes an ES module, with its source map in it, instead of a function of CommonJS, `(module, exports, require, given) => …`.
 * @throws Error when there is no esbuild, or something would not be in the bundle what it is in its own file.
 */
export function build(entry: string, path: string, isModule: boolean): Promise<Built> {
  const built = last.then(() => buildNow(entry, path, isModule));
  last = built.catch(() => {});
  return built;
}

/** esbuild is ended after each build: another one would never end. */
let last: Promise<unknown> = Promise.resolve();

async function buildNow(entry: string, path: string, isModule: boolean): Promise<Built> {
  const esbuild = await import("esbuild");
  const files = new Map<string, Uint8Array>();
  const packaged = [require.resolve("esbuild/package.json")]; // another version may build something else
  try {
    const { outputFiles } = await esbuild.build({
      stdin: { contents: entry, resolveDir: lib },
      outfile: path,
      write: false,
      bundle: true,
      format: isModule ? "esm" : "cjs",
      platform: "node",
      target: `node${process.versions.node}`,
      conditions: [], // those of Node alone
      plugins: [likeFiles(files, packaged, isModule)],
      define: Object.fromEntries(Object.keys(metaOf(lib)).map((name) => [`import.meta.${name}`, `importMeta_${name}`])),
      ignoreAnnotations: true, // such as "sideEffects": Node knows none
      minify: true,
      keepNames: true, // a class's name is the code of its errors
      sourcemap: isModule ? "inline" : "external",
      supported: { "dynamic-import": isModule }, // what evaluates the function has no loader for one
      sourcesContent: false,
      legalComments: "none",
      banner: {
        js: isModule ? `import { createRequire } from "module"; const require = createRequire(${quote(lib)});` : head,
      },
      footer: { js: isModule ? "" : "})" },
      logLevel: "silent",
    });
    const [code, map] = outputFiles.toSorted((a, b) => a.path.length - b.path.length).map(({ contents }) => contents);
    return { code: code!, map, files, packaged };
  } finally {
    await esbuild.stop();
  }
}

const head = "(function (module, exports, require, given) {";

/** Lets each module of the bundle find what it would find from its own place. */
function likeFiles(files: Map<string, Uint8Array>, packaged: string[], isModule: boolean): Plugin {
  return {
    name: "like-files",
    setup(build) {
      // Beside a script, there is what workers do of features. What bundles is not in a bundle.
      build.onResolve({ filter: /^\.\/[\w-]+\/[\w-]+\.ts$/ }, ({ path, importer }) => {
        const isLeft = isModule ? !path.endsWith("/worker.ts") : path.startsWith("./bundle/");
        return importer === listOfFeatures && isLeft ? { path, external: true } : undefined;
      });
      if (!isModule) takeGiven(build);
      build.onResolve({ filter: /^[^.]/ }, ({ path, importer, kind, resolveDir, pluginData }) =>
        pluginData === asked || isAbsolute(path) || isBuiltin(path) || isInPackage(importer)
          ? undefined
          : resolvePackage(build, path, { importer, kind, resolveDir, pluginData: asked }),
      );
      build.onLoad({ filter: /./, namespace: "file" }, async ({ path }) => {
        const content = await readFile(path);
        const loader = loaderOf(path);
        if (isInPackage(path)) {
          packaged.push(path);
          return { contents: (loader === "json" ? `module.exports = ${content}` : content) + noMap, loader: "js" };
        }
        files.set(path, content);
        return { contents: checked(path, content.toString()), loader };
      });
    },
  };
}

/** Lets the bundle have the modules that it is given, instead of its own. */
function takeGiven(build: PluginBuild): void {
  build.onResolve({ filter: /\b(?:load|myglobals|errors)\.ts$/ }, ({ path, resolveDir, namespace }) => {
    const name = relative(lib, resolve(resolveDir, path)).replaceAll(sep, "/");
    return namespace !== "given" && givenNames.includes(name) ? { path: name, namespace: "given" } : undefined;
  });
  build.onLoad({ filter: /./, namespace: "given" }, ({ path }) => ({
    contents: `module.exports = given[${quote(path)}] ?? require(${quote(`./${path}`)});`,
    resolveDir: lib,
  }));
}

const givenNames = ["load.ts", "myglobals.ts", "parent/errors.ts"];

const asked = Symbol();
/** The lines of packages are not worth the time that their map takes. */
const noMap = `\n//# sourceMappingURL=data:application/json;base64,${btoa('{"version":3,"sources":[""],"mappings":"AAAA"}')}`;
const mysql2 = dirname(require.resolve("mysql2/package.json")) + sep;

/** A package is loaded when the thread starts; only mysql2 is worth bundling. */
async function resolvePackage(build: PluginBuild, path: string, from: Parameters<PluginBuild["resolve"]>[1]) {
  const found = await build.resolve(path, from);
  if (found.errors.length > 0 || !isInPackage(found.path) || found.path.startsWith(mysql2)) return found;
  if (/ts$/.test(found.path)) throw new Error(`${found.path} is TypeScript in a package`);
  return { path: pathToFileURL(found.path).href, external: true };
}

/** What would find another file, or none, if it were in a bundle. */
const placed =
  /\b(?:__dirname|__filename)\b|\b(?:require\s*[.(]|eval\s*\()|\bimport\s*\((?!\s*(["'])[^"']*\1\s*[,)])|\bimport\.meta\b(?!\.(?:url|dirname|filename)\b)/;

function checked(path: string, source: string): string {
  const found = path.startsWith(lib) ? null : placed.exec(source);
  if (found) throw new Error(`${path} has ${found[0]}`);
  if (/js$/.test(path) && existsSync(path.replace(/js$/, "ts"))) throw new Error(`${path} stands beside its source`);
  if (!source.includes("import.meta.")) return source;
  const meta = Object.entries(metaOf(path)).map(([name, value]) => `importMeta_${name} = ${quote(value)}`);
  return source.replace(/^(?:#!.*\n)?/, `$&const ${meta.join(", ")};`); // on a line that is there: the numbers stay
}

/** What `import.meta` says to a module. */
function metaOf(path: string) {
  return { url: pathToFileURL(path).href, dirname: dirname(path), filename: path };
}

function loaderOf(path: string): Loader {
  const [, plain, other] = /^\.(?:[cm]?([jt]s)|([jt]sx|json))$/.exec(extname(path)) ?? [];
  if (!plain && !other) throw new Error(`${path} is no module`);
  return (plain ?? other) as Loader;
}

function isInPackage(path: string): boolean {
  return /[\\/]node_modules[\\/]/.test(path);
}

function quote(text: string): string {
  return JSON.stringify(text);
}
