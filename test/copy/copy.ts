/** Makes a clean copy of the script, to be made one's own: without the tests, the bench and what only they need. */
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const usage = `Usage: npm run copy -- FOLDER

Copies the script into a new or empty folder, ready for "npm install": myscript.ts, lib/, and a
package.json, tsconfig.json, .gitignore and README.md of its own.`;

/** What types need, of all that tests and bench do. */
const forTypes = ["@types/cli-progress", "@types/node", "typescript"];

const root = fileURLToPath(new URL("../..", import.meta.url));
const here = process.env.INIT_CWD ?? process.cwd(); // npm runs it in the root

process.exitCode = main(process.argv.slice(2));

function main(args: readonly string[]): number {
  const [folder = "", ...more] = args;
  if (args.includes("--help")) return print(usage);
  if (folder === "" || folder.startsWith("-") || more.length > 0)
    return refuse("Name one folder: npm run copy -- FOLDER");
  const target = resolve(here, folder);
  try {
    const why = whyNot(target);
    if (why) return refuse(`Cannot copy to ${folder}: ${why}`);
    copyTo(target);
  } catch (error) {
    return refuse(`Cannot copy to ${folder}: ${(error as Error).message}`);
  }
  const quoted = /^[\w./~-]+$/.test(folder) ? folder : `'${folder.replaceAll("'", "'\\''")}'`;
  return print(`Copied. To run it: cd ${quoted} && npm install && ./myscript.ts`);
}

function whyNot(target: string): string | undefined {
  if (!relative(root, target).startsWith("..")) return "it is in the folder that is copied";
  if (!existsSync(target)) return undefined;
  if (!statSync(target).isDirectory()) return "it is no folder";
  return readdirSync(target).length > 0 ? "it is not empty" : undefined;
}

function copyTo(target: string): void {
  const write = (name: string, text: string) => writeFileSync(join(target, name), text);
  mkdirSync(target, { recursive: true });
  for (const name of ["myscript.ts", "lib"]) cpSync(join(root, name), join(target, name), { recursive: true });
  chmodSync(join(target, "myscript.ts"), 0o755);
  cpSync(join(root, "LICENSE"), join(target, "lib/LICENSE")); // it asks for that
  write(".gitignore", "node_modules/\n");
  write(
    "README.md",
    readFileSync(join(root, "test/copy/README.md"), "utf8").replace("NAME", () => basename(target)),
  );
  write("package.json", toJson(packageOf(basename(target), readJson("package.json"))));
  write("tsconfig.json", toJson({ ...readJson("tsconfig.json"), include: ["*.ts", "lib"] }));
}

interface Package {
  readonly [field: string]: unknown;
  readonly scripts: Record<string, string>;
  readonly devDependencies: Record<string, string>;
}

function packageOf(folder: string, template: Package): object {
  const { type, engines, dependencies, devDependencies } = template;
  const name =
    folder
      .toLowerCase()
      .replace(/[^a-z0-9._-]+/g, "-")
      .replace(/^[._-]+|-+$/g, "") || "my-batch";
  const { start, mariadb } = template.scripts;
  const scripts = { start, check: "tsc", mariadb };
  const types = Object.fromEntries(forTypes.map((needed) => [needed, devDependencies[needed]]));
  return { name, version: "0.1.0", private: true, type, engines, scripts, dependencies, devDependencies: types };
}

function readJson(name: string): Package {
  return JSON.parse(readFileSync(join(root, name), "utf8"));
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function print(text: string): number {
  console.log(text);
  return 0;
}

function refuse(why: string): number {
  console.error(why);
  return 2;
}
