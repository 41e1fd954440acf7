/** Bundles TypeScript into one JavaScript file that behaves like its source files under tsx. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire, isBuiltin } from "node:module";
import { dirname, extname, isAbsolute, relative, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Loader, Plugin, PluginBuild } from "esbuild";

const lib = fileURLToPath(new URL("../..", import.meta.url));
const listOfFeatures = fileURLToPath(new URL("../index.ts", import.meta.url));
const require = createRequire(import.meta.url);

/** Builds that have not ended. The last one stops esbuild, because that would keep the others from ending. */
let underWay = 0;

/**
 * Builds a bundle.
 *
 * @param entry source of a module that imports the rest by absolute paths.
 * @param path path that the bundle will have. Does not write it.
 * @param isModule true for an ES module with its source map inside. False for a CommonJS function,
 * `(module, exports, require, given) => …`.
 * @returns also the contents of the source files, by path, and the paths of the files of packages.
 * @throws Error if esbuild is missing, or if some code would behave differently in a bundle.
 */
export async function build(entry: string, path: string, isModule: boolean) {
  const esbuild = await import("esbuild");
  const files = new Map<string, Uint8Array>();
  const packaged = [require.resolve("esbuild/package.json")]; // another version may build something else
  underWay++;
  try {
    const { outputFiles } = await esbuild.build({
      stdin: { contents: entry, resolveDir: lib },
      outfile: path,
      write: false,
      bundle: true,
      format: isModule ? "esm" : "cjs",
      platform: "node",
      target: `node${process.versions.node}`,
      conditions: [], // only Node's own
      plugins: [likeFiles(files, packaged, isModule)],
      define: Object.fromEntries(Object.keys(metaOf(lib)).map((name) => [`import.meta.${name}`, `importMeta_${name}`])),
      ignoreAnnotations: true, // such as "sideEffects", which Node does not know
      minify: true,
      keepNames: true, // the name of an error's class is its code
      sourcemap: isModule ? "inline" : "external",
      supported: { "dynamic-import": isModule }, // a vm.Script has no loader for one
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
    if (--underWay === 0) await esbuild.stop();
  }
}

const head = "(function (module, exports, require, given) {";

/** Creates a plugin that resolves imports and `import.meta` of each module as from its own file. */
function likeFiles(files: Map<string, Uint8Array>, packaged: string[], isModule: boolean): Plugin {
  return {
    name: "like-files",
    setup(build) {
      // A bundle with a script contains only the workers' part of features. The bundle feature itself is in no bundle.
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

/** Makes the bundle take these modules from `given`, if that has them, instead of its own copies. */
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
/** Empty source map for files of packages. Mapping their lines would cost more time than it is worth. */
const noMap = `\n//# sourceMappingURL=data:application/json;base64,${btoa('{"version":3,"sources":[""],"mappings":"AAAA"}')}`;
const mysql2 = dirname(require.resolve("mysql2/package.json")) + sep;

/** Resolves an import of a package. Bundles only mysql2. Other packages stay external and are loaded when the thread starts. */
async function resolvePackage(build: PluginBuild, path: string, from: Parameters<PluginBuild["resolve"]>[1]) {
  const found = await build.resolve(path, from);
  if (found.errors.length > 0 || !isInPackage(found.path) || found.path.startsWith(mysql2)) return found;
  if (/ts$/.test(found.path)) throw new Error(`${found.path} is TypeScript in a package`);
  return { path: pathToFileURL(found.path).href, external: true };
}

/** Code that would find another file, or none, in a bundle. */
const placed =
  /\b(?:__dirname|__filename)\b|\b(?:require\s*[.(]|eval\s*\()|\bimport\s*\((?!\s*(["'])[^"']*\1\s*[,)])|\bimport\.meta\b(?!\.(?:url|dirname|filename)\b)/;

function checked(path: string, source: string): string {
  const found = path.startsWith(lib) ? null : placed.exec(source);
  if (found) throw new Error(`${path} has ${found[0]}`);
  if (/js$/.test(path) && existsSync(path.replace(/js$/, "ts"))) throw new Error(`${path} stands beside its source`);
  if (!source.includes("import.meta.")) return source;
  const meta = Object.entries(metaOf(path)).map(([name, value]) => `importMeta_${name} = ${quote(value)}`);
  return source.replace(/^(?:#!.*\n)?/, `$&const ${meta.join(", ")};`); // on an existing line, to keep the line numbers
}

/** Returns the properties of a module's `import.meta`. */
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
