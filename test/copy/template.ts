/** Builds all files of a copy, for the chosen features. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { features } from "../../lib/features/index.ts";
import { addEntries, indexPath, withoutEntries } from "./lists.ts";
import { pageOf } from "./pages.ts";

export const root = fileURLToPath(new URL("../..", import.meta.url));

/** The text of each file, by its path in the copy. */
export type Files = ReadonlyMap<string, string>;

/** Returns the files of a copy with these features. */
export function filesOf(chosen: readonly string[], name = "my-batch"): Files {
  const files = new Map<string, string>();
  const hasSandbox = chosen.includes("sandbox");
  const isExample = hasSandbox && chosen.includes("ranges"); // the example script uses ranges() on a table of the sandbox
  const script = isExample ? read("myscript.ts") : read("test/copy/myscript.ts").replaceAll('"../../lib/', '"./lib/');
  const test = read("test/copy/script.ts");
  const readme = read("test/copy/README.md").replace("NAME", () => name);
  files.set("myscript.ts", script);
  files.set("test/myscript.test.ts", isExample ? test.replace(/\["--socket", "none"\]/, "[]") : test);
  for (const [path, text] of libFiles(chosen, [script, test])) files.set(path, text);
  files.set(indexPath, addEntries(indexPath, withoutEntries(read(indexPath)), chosen));
  files.set("lib/LICENSE", read("LICENSE")); // the license requires a copy of itself
  files.set(
    "README.md",
    addEntries("README.md", hasSandbox ? readme : readme.replace(/^.*throwaway.*\n/m, ""), chosen),
  );
  files.set(".gitignore", "node_modules/\n");
  files.set("tsconfig.json", toJson({ ...readJson("tsconfig.json"), include: ["*.ts", "lib", "test"] }));
  files.set("biome.json", toJson(biomeOf(readJson("biome.json"))));
  files.set("package.json", toJson(packageOf(name, hasSandbox, files)));
  for (const [path, text] of files) if (path.endsWith(".md")) files.set(path, pageOf(path, text, files, chosen));
  return files;
}

/** Returns the number of lines of code in a copy. */
export function linesOf(files: Files): number {
  return [...files].reduce((sum, [path, text]) => sum + (isCode(path) ? text.split("\n").length - 1 : 0), 0);
}

/**
 * Returns the files of `lib` for the chosen features: all but those of other features, and the code that nothing imports without
 * these. A folder in `lib/features` without an entry in the list is core.
 *
 * @param scripts the code outside `lib`.
 */
function libFiles(chosen: readonly string[], scripts: readonly string[]): Files {
  const left = features.map(({ name }) => name).filter((name) => !chosen.includes(name));
  const paths = readdirSync(join(root, "lib"), { recursive: true, encoding: "utf8" })
    .map((path) => `lib/${path.replaceAll("\\", "/")}`)
    .filter((path) => path !== indexPath && !left.includes(/^lib\/features\/([^/]+)\//.exec(path)?.[1] ?? ""))
    .filter((path) => statSync(join(root, path)).isFile());
  const texts = new Map(paths.sort().map((path) => [path, read(path)]));
  const needed = new Set<string>();
  const addImports = (from: string, text: string) => {
    for (const path of importsIn(from, text)) if (texts.has(path) && !needed.has(path)) add(path);
  };
  const add = (path: string) => {
    needed.add(path);
    addImports(path, texts.get(path)!);
  };
  for (const script of scripts) addImports("myscript.ts", script);
  for (const path of paths) if (!isCode(path) || path.startsWith("lib/features/")) add(path);
  return new Map([...texts].filter(([path]) => needed.has(path)));
}

/** Returns the paths of the files that the text of a file imports. */
export function importsIn(path: string, text: string): string[] {
  const imports = text.matchAll(/(?:\bfrom |\bimport[ (]|\bURL\()"(\.\.?\/[^"]*\.\w+)"/g);
  return [...imports].map(([, name]) => posix.join(path, "..", name!));
}

function isCode(path: string): boolean {
  return /\.[jt]s$/.test(path);
}

/** Returns a biome.json with Biome's default rules, without a warning about `!`, which the compiler checks. */
function biomeOf({ formatter }: Json): object {
  return { formatter, linter: { rules: { style: { noNonNullAssertion: "off" } } } };
}

interface Json {
  readonly [field: string]: unknown;
}

/** The sections of a `package.json` that features may add to. */
export const sections = ["scripts", "dependencies", "devDependencies"] as const;

export interface Package extends Json, Record<(typeof sections)[number], Readonly<Record<string, string>>> {}

/** Returns a package.json with the packages that the code imports and their types, pinned to the tested versions. */
function packageOf(folder: string, hasSandbox: boolean, files: Files): Package {
  const { type, engines, dependencies, devDependencies, scripts } = readJson("package.json") as Package;
  const code = [...files].map(([path, text]) => (isCode(path) ? text : "")).join("\n");
  const needed = Object.keys(dependencies).filter((name) => name === "tsx" || new RegExp(`"${name}["/]`).test(code));
  const types = Object.keys(devDependencies).filter((name) => needed.some((one) => name === `@types/${one}`));
  const { start = "", mariadb = "" } = scripts;
  const test = "tsx --test test/*.test.ts";
  return {
    name:
      folder
        .toLowerCase()
        .replace(/[^a-z0-9._-]+/g, "-")
        .replace(/^[._-]+|-+$/g, "") || "my-batch",
    ...{ version: "0.1.0", private: true, type, engines },
    scripts: { start, check: "tsc", test, ...(hasSandbox && { mariadb }) },
    dependencies: pinned(needed),
    devDependencies: pinned([...types, "@types/node", "typescript"]),
  };
}

function pinned(names: readonly string[]): Record<string, string> {
  const { packages } = readJson("package-lock.json") as unknown as { packages: Record<string, { version: string }> };
  return Object.fromEntries(names.map((name) => [name, packages[`node_modules/${name}`]!.version]));
}

function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

function readJson(path: string): Json {
  return JSON.parse(read(path));
}

function toJson(value: unknown): string {
  const text = JSON.stringify(value, null, 2).replace(
    /\[\s+([^[\]{}]*?)\s+\]/g,
    (_, items) => `[${items.replace(/\s+/g, " ")}]`,
  );
  return `${text}\n`;
}
