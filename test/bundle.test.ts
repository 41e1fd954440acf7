/** The code that a thread loads: a bundle, or the files themselves if there can be no bundle. */
import assert from "node:assert/strict";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { bundle } from "../lib/features/bundle/bundle.ts";
import { doWork, myglobals, RunError } from "../lib/index.ts";
import { root, run, runtime } from "./run.ts";
import { inSoak } from "./soak.ts";

const readsTypeScript = Boolean((process.features as { typescript?: unknown }).typescript);
const skip = readsTypeScript && "this runtime reads TypeScript: nothing is bundled";
const { TMPDIR } = process.env;
const directory = mkdtempSync(join(realpathSync(tmpdir()), "myscript-bundle-"));
const project = join(directory, "project");
const script = join(project, "script.ts");
/** The temporary directory of one test, with its bundles. */
let temporary: string;
let tests = 0;
/** The number of the line in the script that throws. */
let throwsAt = 0;

mkdirSync(project);
symlinkSync(join(root, "node_modules"), join(project, "node_modules"));
writeFileSync(join(project, "package.json"), '{ "type": "module" }');

beforeEach(() => {
  temporary = join(directory, `tmp-${++tests}`);
  mkdirSync(temporary);
  process.env.TMPDIR = temporary;
});

after(() => {
  if (TMPDIR === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = TMPDIR;
  rmSync(directory, { recursive: true });
});

/** Writes a script whose `workerDo()` throws an error. The message is what the script sees, as JSON. */
function writeScript(more = ""): void {
  writeFileSync(join(project, "data.json"), '{ "colour": "red" }');
  writeFileSync(join(project, "lazy.ts"), "export const url: string = import.meta.url;");
  writeFileSync(
    join(project, "helper.ts"),
    `import { myglobals } from "${root}lib/myglobals.ts";
export class Seen extends Error {
  override name = this.constructor.name;
}
export const shared: unknown = myglobals.shared;
export const version = 1;
`,
  );
  const source = `#!/usr/bin/env -S npx tsx
import { myglobals } from "${root}lib/myglobals.ts";
import { PromiseConnection } from "mysql2/promise";
import stringWidth from "string-width";
import data from "./data.json" with { type: "json" };
import { Seen, shared, version } from "./helper.ts";
${more}
const late: number = await Promise.resolve(7);
export function workerInit(): void {}
export async function workerDo(unit: string): Promise<void> {
  const { url } = await import("./lazy.ts");
  const { prepareStackTrace } = Error;
  Error.prepareStackTrace = (_, frames) => frames[0]!.getFileName();
  const loadedFrom = String(new Error().stack);
  Error.prepareStackTrace = prepareStackTrace;
  const seen = { unit, late, data, version, url: import.meta.url, dirname: import.meta.dirname, lazy: url };
  const isOne = shared === myglobals.shared && typeof shared === "object";
  const packages = [typeof PromiseConnection, stringWidth("four")];
  throw new Seen(JSON.stringify({ ...seen, isOne, packages, isBundled: /[.]mjs$/.test(loadedFrom) }));
}
`;
  writeFileSync(script, source);
  throwsAt = 1 + source.split("\n").findIndex((line) => line.includes("throw new"));
}

/** Runs the script in a thread and returns what it sees. */
async function see(): Promise<Record<string, unknown>> {
  myglobals.shared = { a: 1 };
  const { failures } = await doWork(["unit"], 1, { script: pathToFileURL(script) });
  delete myglobals.shared;
  const [, seen, place] = /^(\{.*\}) \((.*)\)$/.exec(failures[0]!.message) ?? assert.fail(failures[0]!.message);
  return { ...JSON.parse(seen!), code: failures[0]!.code, place };
}

const expected = () => ({
  unit: "unit",
  late: 7,
  data: { colour: "red" },
  version: 1,
  url: pathToFileURL(script).href,
  dirname: project,
  lazy: pathToFileURL(join(project, "lazy.ts")).href,
  isOne: true,
  packages: ["function", 4],
  code: "Seen",
  place: `${script}:${throwsAt}`,
  isBundled: true,
});

/** Returns the names and the modes of the bundles' files. */
function cached(): { names: string[]; modes: Set<number> } {
  const folder = join(temporary, readdirSync(temporary).find((name) => name.startsWith("myscript-bundles-"))!);
  const names = readdirSync(folder);
  const modes = new Set(
    [folder, ...names.map((name) => join(folder, name))].map((path) => statSync(path).mode & 0o777),
  );
  return { names, modes };
}

function kindOf(name: string): string {
  return name.replace(/^[^.]+/, "");
}

test("doWork() runs from a bundle with the same error classes, and stack traces name the lines of the original files", {
  skip: (process.versions.bun || process.versions.deno) && "nothing is bundled",
}, async () => {
  const stacks: (string | undefined)[] = [];
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;
  const onEnded = () => {
    collectGarbage(); // the source map must survive it
    const { prepareStackTrace } = Error;
    stacks.push(new Error().stack);
    Error.prepareStackTrace = (_, frames) => frames.map((frame) => frame.getFileName()).join("\n");
    stacks.push(new Error().stack);
    Error.prepareStackTrace = prepareStackTrace;
  };
  myglobals.config.db = { host: "127.0.0.1", ssl: "nonsense" };
  await assert.rejects(doWork(["DO 1"], 1, { onEnded }), RunError);
  assert.match(stacks[0]!, /lib[/]parent[/]run.ts:\d+:\d+/);
  assert.match(stacks[1]!, /[.]cjs$/m);
});

test("bundle() makes no bundle of a script if the runtime reads TypeScript", {
  skip: !readsTypeScript,
}, async () => {
  assert.equal(await bundle(pathToFileURL(script)), undefined);
});

test("a bundled script sees the same values as from its file, and errors name its own lines", { skip }, async () => {
  writeScript();
  assert.deepEqual(await see(), expected());
  const { names, modes } = cached();
  assert.equal(names.filter((name) => name.endsWith(".mjs")).length, 1, `${names}`);
  assert.deepEqual(modes, new Set([0o700, 0o600]));
});

test("a bundle is reused until one of its files changes, and then replaced", { skip }, async () => {
  writeScript();
  const [own, file] = await Promise.all([bundle(), bundle(pathToFileURL(script))]);
  assert.ok(own?.endsWith(".cjs"));
  assert.equal(await bundle(pathToFileURL(script)), file);
  writeFileSync(join(project, "helper.ts"), "export const version = 2, shared = null, Seen = Error;\n");
  assert.deepEqual(await see(), { ...expected(), version: 2, isOne: false, code: "Error" });
  writeFileSync(join(project, "data.json"), '{ "colour": "blue" }');
  assert.deepEqual((await see()).data, { colour: "blue" });
  const copy = join(project, "copy");
  mkdirSync(copy);
  writeFileSync(join(copy, "copy.ts"), "export const n = 1;\n");
  const ofCopy = await bundle(pathToFileURL(join(copy, "copy.ts")));
  assert.ok(ofCopy !== undefined && existsSync(ofCopy));
  rmSync(copy, { recursive: true });
  const changed = await bundle(pathToFileURL(script));
  writeFileSync(join(project, "tsconfig.json"), '{ "compilerOptions": { "paths": {} } }');
  const configured = await bundle(pathToFileURL(script));
  assert.equal(existsSync(ofCopy), false, "what it was built from is gone");
  rmSync(join(project, "tsconfig.json"));
  assert.ok(changed !== undefined && configured !== undefined && changed !== configured);
  assert.equal(existsSync(file!), false);
  assert.equal(cached().names.filter((name) => name.endsWith(".mjs")).length, 1);
});

test("a script runs from its files if a bundle would behave differently or another user could have written it", {
  skip,
}, async () => {
  const unbundled = { ...expected(), isBundled: false };
  for (const more of ["const name = './lazy.ts'; await import(name);", "import.meta.resolve('mysql2');"]) {
    writeScript(more);
    assert.equal(await bundle(pathToFileURL(script)), undefined);
    assert.deepEqual(await see(), unbundled, more);
  }
  writeScript();
  const folder = join(temporary, readdirSync(temporary).find((name) => name.startsWith("myscript-bundles-"))!);
  chmodSync(folder, 0o755);
  assert.deepEqual(await see(), unbundled);
  rmSync(folder, { recursive: true });
  symlinkSync(directory, folder);
  assert.equal(await bundle(), undefined);
  rmSync(folder);
  writeFileSync(folder, "");
  assert.equal(await bundle(), undefined);
});

test("a thread keeps its compile cache only in a folder that belongs to this user", async () => {
  writeFileSync(
    script,
    `import module from "node:module";
import { workerData } from "node:worker_threads";
export function workerInit(): void {}
export function workerDo(): void {
  throw new Error(JSON.stringify([workerData.compileCache, module.getCompileCacheDir?.()]));
}
`,
  );
  const seen = async () => {
    const { failures } = await doWork(["unit"], 1, { script: pathToFileURL(script) });
    return JSON.parse(failures[0]!.message.replace(/ \(.*$/, "")) as (string | null)[];
  };
  const [given, used = null] = await seen();
  const folder = join(temporary, readdirSync(temporary)[0]!);
  assert.equal(given, join(folder, "compile-cache"));
  // Bun has one compile cache for the whole process, the first one that was requested.
  if (used !== null && !process.versions.bun) assert.ok(used.startsWith(given));
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  rmSync(folder, { recursive: true });
  mkdirSync(folder, { mode: 0o755 });
  assert.deepEqual(await seen(), [null, process.versions.bun ? used : null]);
});

test("a run loads no feature that it does not use", { skip }, async () => {
  // Without a bundle, because a folder with these permissions is not used.
  mkdirSync(join(temporary, `myscript-bundles-${process.geteuid!()}`), { mode: 0o755 });
  const main = join(project, "main.ts");
  writeFileSync(
    main,
    `import { ranges } from "${root}lib/features/ranges/ranges.ts";
import { doWork, myglobals } from "${root}lib/index.ts";
myglobals.config.db = { host: "127.0.0.1", ssl: "nonsense" };
await doWork(process.argv[2] ? ranges({}, "") : ["DO 1"]).catch(({ message }) => console.log(message));
`,
  );
  const coverage = join(temporary, "coverage");
  const ran = await run([main], { env: { TMPDIR: temporary, NODE_V8_COVERAGE: coverage }, command: runtime });
  assert.equal(ran.stdout, "Unknown SSL profile 'nonsense'\n", ran.stderr);
  const scripts = readdirSync(coverage).flatMap(
    (name) => JSON.parse(readFileSync(join(coverage, name), "utf8")).result,
  );
  const loaded = new Set(scripts.flatMap(({ url }) => /(?<=lib\/features\/)[\w./-]+/.exec(url) ?? []));
  assert.deepEqual([...loaded].toSorted(), ["bundle/bundle.ts", "bundle/evaluate.js", "index.ts", "ranges/ranges.ts"]);
});

test("several processes that start at the same time without a bundle all run, also without esbuild", {
  skip: skip || inSoak,
}, async () => {
  const copy = join(directory, "copy");
  cpSync(join(root, "lib"), join(copy, "lib"), { recursive: true });
  cpSync(join(project, "package.json"), join(copy, "package.json"));
  mkdirSync(join(copy, "node_modules"));
  const install = (name: string) => symlinkSync(join(root, "node_modules", name), join(copy, "node_modules", name));
  for (const name of ["mysql2", "tsx"]) install(name);
  writeFileSync(
    join(copy, "main.ts"),
    `import { doWork, myglobals, runCommand } from "./lib/index.ts";
myglobals.config.db = { host: "127.0.0.1", ssl: "nonsense" };
if (process.argv[2]) await runCommand(() => doWork([]));
else await doWork(["DO 1"], 2, { threads: 2 }).catch(({ message }) => console.log(message));
`,
  );
  const start = (...args: string[]) =>
    run([join(copy, "main.ts"), ...args], {
      command: ["node_modules/.bin/tsx"],
      env: { TMPDIR: temporary, NODE_DEBUG: "myscript" },
    });
  const alone = await start();
  assert.match(alone.stdout, /^Unknown SSL profile 'nonsense'\n$/);
  assert.match(alone.stderr, /^MYSCRIPT \d+: no bundle: .*Cannot find (?:package|module) 'esbuild/m);
  install("esbuild");
  assert.match((await start("--version")).stdout, /^myscript /);
  const kinds = [".cjs", ".cjs.map", ".json"]; // this run ends early, and writes no compile cache
  assert.deepEqual(cached().names.map(kindOf).toSorted(), kinds);
  for (const { stdout, stderr } of await Promise.all([start(), start(), start()])) {
    assert.match(stdout, /^Unknown SSL profile 'nonsense'\n$/);
    assert.equal(stderr, "");
  }
  const { names, modes } = cached();
  assert.deepEqual(names.map(kindOf).toSorted(), [...kinds, ".cjs.process", ".cjs.thread"].toSorted());
  assert.deepEqual(modes, new Set([0o700, 0o600]));
});
