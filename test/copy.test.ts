import assert from "node:assert/strict";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { features } from "../lib/features/index.ts";
import { startSandbox } from "../lib/features/sandbox/sandbox.ts";
import { copy } from "./copy/command.ts";
import { writeCopy } from "./copy/folder.ts";
import { existsIn } from "./copy/pages.ts";
import { type Files, filesOf, importsIn } from "./copy/template.ts";
import { root, run, runtime } from "./run.ts";
import { inSoak, isSoak } from "./soak.ts";
import { noTerminal, Screen, startOnTerminal } from "./terminal.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript copy "));
const sandbox = await startSandbox({ orders: 250 });
after(async () => {
  await sandbox.stop();
  rmSync(directory, { recursive: true });
});

const copyScript = [...runtime, "test/copy/copy.ts"];
const biome = [join(root, "node_modules/.bin/biome")];
const names = features.map(({ name }) => name);
const server = ["-S", sandbox.db.socketPath, "-u", "root", "-D", "myscript"];

/** A script that uses the types of `myglobals`, of units and of the command without a cast. */
const typedScript = `import { type Command, doWork, runCommand, typedGlobals, type WorkerDo } from "./lib/index.ts";

interface Unit {
  readonly id: number;
}
const myglobals = typedGlobals<{ region: string }>();

export const workerDo: WorkerDo<Unit> = async ({ id }, connection, { signal }) => {
  signal.throwIfAborted();
  const length: number = myglobals.config.region.length + id.toFixed().length;
  connection.query("DO 1");
  // @ts-expect-error: there is no such value
  return length + myglobals.config.regions.length;
};

async function main({ db, workers, options }: Command) {
  // @ts-expect-error: the region is missing
  myglobals.config = { db };
  myglobals.config = { db, region: "eu" };
  return doWork<Unit>([{ id: 7 }], workers, { ...options, script: import.meta.url });
}

process.exitCode = await runCommand(main);
`;

test("npm run copy makes a copy with only the needed files, which compiles and runs from any folder", async () => {
  const target = join(directory, "My batch's");
  const made = await run([target, "--with", "all"], { command: ["npm", "run", "--silent", "copy", "--"] });
  const how = `cd '${target.replace("'", "'\\''")}' && npm install && ./myscript.ts`;
  assert.match(made.stdout, /^Copied, with their lines: the core \([\d,]{5,6}\)(?:, [a-z-]+ \([\d,]+\))+\nTo run it: /);
  assert.deepEqual(made, { status: 0, stdout: `${made.stdout.split("\n")[0]}\nTo run it: ${how}\n`, stderr: "" });
  const own = [".gitignore", "README.md", "biome.json", "lib", "myscript.ts", "package.json", "test", "tsconfig.json"];
  assert.deepEqual(readdirSync(target).sort(), own);
  for (const path of ["myscript.ts", "lib/features/index.ts"]) {
    assert.equal(readFileSync(join(target, path), "utf8"), readFileSync(join(root, path), "utf8"));
  }
  const { name, dependencies, devDependencies } = readJson(join(target, "package.json"));
  assert.equal(name, "my-batch-s");
  mkdirSync(join(target, "node_modules"));
  const needed = [...Object.keys(dependencies), ...Object.keys(devDependencies), ".bin"];
  for (const scope of ["@types"]) mkdirSync(join(target, "node_modules", scope));
  for (const name of needed) symlinkSync(join(root, "node_modules", name), join(target, "node_modules", name));
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
    assert.equal(readJson(join(root, "node_modules", name, "package.json")).version, version, "exact versions");
  }
  writeFileSync(join(target, "second.ts"), "const wrong: string = 7;\nexport { wrong };\n");
  writeFileSync(join(target, "typed.ts"), typedScript);

  const types = await run([target], { command: ["sh", "-c", 'cd "$0" && node_modules/.bin/tsc'] });
  assert.match(
    types.stdout,
    /^second\.ts\(1,7\): error TS2322: [^\n]*\n$/,
    "all scripts are checked, and lib/ is right",
  );
  const inRoot = ["sh", "-c", 'cd /; exec "$0" "$@"', join(target, "myscript.ts")];
  const ran = await run(server, { command: inRoot });
  assert.match(ran.stderr, /^3 of 3 queries done, .*\n250 rows/m);
  assert.equal(ran.status, 0);
  for (const name of ["second.ts", "typed.ts"]) rmSync(join(target, name));
  const checked = await run(["check", "--error-on-warnings"], { command: biome, folder: target });
  assert.equal(checked.status, 0, checked.stderr);
  if (!isSoak) return;
  const tested = await run(["test"], { command: ["npm", "--silent"], folder: target });
  assert.match(tested.stdout, /^# pass 1$/m);
  assert.equal(tested.status, 0);
});

test("a copy passes Biome's own rules", { skip: inSoak }, async () => {
  const target = join(directory, "rules");
  writeCopy(target, names);
  writeFileSync(join(target, "biome.json"), "{}\n");
  const linted = await run(["lint"], { command: biome, folder: target });
  assert.equal(linted.status, 0, linted.stderr);
});

test("a copy without one of the features lacks no file, its help and pages name none of its flags, and messages how to add it", async () => {
  const folder = join(directory, "without");
  for (const name of names) writeCopy(join(folder, name), allBut(name));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  for (const { name, command, option } of features) {
    const files = filesOf(allBut(name));
    assert.deepEqual(missingIn(files), [], name);
    assert.ok(![...files.keys()].some((path) => path.startsWith(`lib/features/${name}/`)));
    for (const [path, text] of files) {
      if (path.endsWith(".md")) assert.doesNotMatch(text, new RegExp(`features/${name}\\b`), `${path} without ${name}`);
    }
    const path = join(folder, name, "lib/command/flag-table.ts");
    const { help, loadFeatures, parseFlags, tableOfFlags } = await import(pathToFileURL(path).href);
    await loadFeatures();
    const listed = new Set([...help().matchAll(/--([a-z][a-z-]*)/g)].map(([, flag]) => flag));
    assert.deepEqual([...listed].sort(), Object.keys(tableOfFlags()).sort(), name);
    const { flags } = ((await command?.())?.feature ?? { flags: {} }) as { flags: object };
    const commands = [...files]
      .filter(([path]) => path.endsWith(".md"))
      .flatMap(([, text]) => text.match(commandsIn) ?? []);
    const add = `this copy lacks the feature ${name}: to add it, run "npm run copy -- FOLDER --with ${name}" where it was copied from`;
    for (const flag of Object.keys(flags)) {
      assert.throws(() => parseFlags([`--${flag}`]), { message: `Unknown option --${flag}: ${add}` });
      const typo = { message: `Unknown option --${flag}x: did you mean --${flag}? ${add}` };
      assert.throws(() => parseFlags([`--${flag}x`]), typo);
      assert.ok(!listed.has(flag), `--${flag} without ${name}`);
      assert.deepEqual(
        commands.filter((line) => new RegExp(`--${flag}\\b`).test(line)),
        [],
        `--${flag} without ${name}`,
      );
    }
    if (option !== undefined) {
      const { doWork } = await import(pathToFileURL(join(folder, name, "lib/mp.ts")).href);
      const message = `Cannot take the option ${option}: ${add}`;
      await assert.rejects(doWork(["DO 1"], 1, { [option]: "x", dryRun() {} }), { name: "TypeError", message });
    }
    if (name === "sql-files")
      assert.deepEqual(
        commands.filter((line) => /\.sql\b/.test(line)),
        [],
      );
  }
});

test("the README of a copy says what to do about each outcome, with the features that it has", () => {
  const readmeOf = (...chosen: string[]) => filesOf(chosen).get("README.md")!;
  for (const chosen of [[], ["joblog"], ["ledger"], ["joblog", "ledger"]]) {
    const text = readmeOf(...chosen);
    const [hasLog, hasLedger] = ["joblog", "ledger"].map((name) => chosen.includes(name));
    assert.equal(/^\| `failed` .* \| correct it, and run it again: `--resume --retry-failed` \|$/m.test(text), hasLog);
    assert.equal(/^\| `skipped` .* \| run it \|$/m.test(text), !hasLog);
    assert.equal(text.includes("With a ledger, the same command"), hasLedger);
    assert.equal(/^\| not harmless twice: .*--ledger TABLE/m.test(text), hasLedger);
    assert.equal(/^\| `workerDo\(\)`, .* \| Add the feature `joblog`\. \|$/m.test(text), !hasLog);
    assert.equal(/^Give it the same queries in the same order/m.test(text), hasLog || hasLedger);
    assert.doesNotMatch(text, /<!--|\n\n\n/);
  }
});

test("a copy without one of the features compiles", { skip: inSoak }, async () => {
  const folder = join(directory, "types");
  for (const name of names) writeCopy(join(folder, name), allBut(name));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const config = { ...readJson(join(folder, names[0]!, "tsconfig.json")), include: ["*/*.ts", "*/lib", "*/test"] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  await hasItsTypes(folder);
});

test("lib has no circle of imports, not even for types", () => {
  const files = filesOf(names);
  const isClear = new Set<string>();
  const check = (path: string, way: readonly string[]): void => {
    assert.ok(!way.includes(path), `a circle: ${[...way, path].join(" ")}`);
    if (isClear.has(path)) return;
    const loadedAtOnce = (files.get(path) ?? "").replace(/\b(?:import|URL)\(/g, "");
    for (const imported of importsIn(path, loadedAtOnce)) check(imported, [...way, path]);
    isClear.add(path);
  };
  for (const path of files.keys()) if (/^lib\/.*\.[jt]s$/.test(path)) check(path, []);
  assert.ok(isClear.size > 100);
});

test("the copy of the core compiles, runs queries, and refuses to run them without a server", async () => {
  const target = join(directory, "core");
  const { text } = await copy([target], root);
  assert.match(text, / && .\/myscript.ts -h HOST\nTo add features: npm run copy -- .* --with sql-files,.*,bundle$/);
  assert.deepEqual(missingIn(filesOf([])), []);
  symlinkSync(join(root, "node_modules"), join(target, "node_modules"));
  const script = { command: [join(target, "myscript.ts")] };
  const own = { command: [...runtime, "test/myscript.test.ts"], folder: target };
  const [ran, refused, tested] = await Promise.all([run(server, script), run([], script), run([], own)]);
  const file = await run([...server, "a.sql"], script);
  assert.match(
    file.stderr,
    /^myscript: Cannot read a\.sql: this copy lacks the feature sql-files: to add it, run "npm /,
  );
  assert.match(ran.stderr, /^3 of 3 queries done, /m);
  assert.equal(ran.status, 0);
  const ways = "--url, --host, --socket or MYSQL_HOST";
  assert.deepEqual(refused, { status: 2, stdout: "", stderr: `myscript: Name a server: ${ways}\n` });
  assert.match(tested.stdout, /^# pass 1$/m);
  assert.equal(tested.status, 0);
  await hasItsTypes(target);
});

test("npm run copy adds features to a copy, and keeps the files that its owner has changed", async () => {
  const target = join(directory, "grown");
  const index = "lib/features/index.ts";
  const textOf = (path: string) => readFileSync(join(target, path), "utf8");
  const write = (path: string, text: string) => writeFileSync(join(target, path), text);
  const grow = async (list: string) => {
    const { status, text } = await copy([target, "--with", list], root);
    return `${status} ${text}`;
  };
  writeCopy(target, ["ledger"]);
  for (const path of ["lib/worker.ts", "myscript.ts"]) appendFileSync(join(target, path), "// mine\n");
  write("package.json", textOf("package.json").replace('"0.1.0"', '"7.0.0"'));
  write(index, textOf(index).replace("/**", "/** Mine."));
  rmSync(join(target, "lib/mp.ts"));

  const added = await grow("rows,sandbox,ledger");
  assert.match(added, /^0 Added, with their lines: sandbox \([\d,]+\), rows \([\d,]+\)\n/);
  assert.match(
    added,
    /\nIt has the core, sandbox, ledger, rows\nWritten again, because .*:\n {2}lib\/mp.ts\nLeft as they are, because /,
  );
  assert.match(added, /:\n {2}lib\/worker.ts\nTo check it: /);
  const wanted = filesOf(["sandbox", "ledger", "rows"], "grown");
  assert.match(textOf("lib/command/README.md"), /\n\| \[rows\]\(/, "its pages speak of what it has now");
  const own = ["lib/worker.ts", "myscript.ts", "package.json", index];
  for (const [path, text] of wanted) if (!own.includes(path)) assert.equal(textOf(path), text, path);
  for (const path of ["lib/worker.ts", "myscript.ts"]) assert.match(textOf(path), /\/\/ mine\n$/);
  assert.equal(textOf(index), wanted.get(index)?.replace("/**", "/** Mine."));
  assert.equal(textOf("package.json"), wanted.get("package.json")?.replace('"0.1.0"', '"7.0.0"'));

  const other = join(directory, "own readme");
  writeCopy(other, ["ledger"]);
  appendFileSync(join(other, "README.md"), "Mine\n");
  await copy([other, "--with", "rows"], root);
  const readme = readFileSync(join(other, "README.md"), "utf8");
  assert.deepEqual(readme.match(/^- `[a-z]+`|^Mine$/gm), ["- `ledger`", "- `rows`", "Mine"], "its list is up to date");

  write("README.md", "Mine\n");
  assert.match(await grow("rows,lag"), /^0 Added, .*: lag .*\n.*\nLeft.*:\n {2}README.md\n {2}lib\/worker.ts\n/);
  rmSync(join(target, "lib/mp.ts"));
  assert.match(await grow("none"), /^0 Nothing was added\nIt has the core, sandbox, ledger, lag, rows\nLeft/);
  assert.equal(textOf("README.md"), "Mine\n");
  assert.ok(!existsSync(join(target, "lib/mp.ts")), "its owner does without");
  rmSync(join(target, "lib/features/lag"), { recursive: true });
  assert.match(await grow("lag"), /^0 Nothing was added\nIt has .*\nWritten again, .*:\n {2}lib\/features\/lag\//);
  rmSync(join(target, "lib/mp.ts"));
  write(
    index,
    textOf(index)
      .replace(/,(\n\];)/, "$1")
      .replace(/^ +\{\n {4}name: "lag"[^}]*\},\n/m, ""),
  );
  assert.match(
    await grow("lag,joblog,ranges"),
    /^0 Added, .*: lag .*, joblog .*, ranges .*\nIt has .* joblog, rows, ranges\n/,
  );
  const all = ["sandbox", "ledger", "lag", "joblog", "rows", "ranges"];
  assert.equal(textOf(index), filesOf(all).get(index)?.replace("/**", "/** Mine."));
  write(index, textOf(index).replace("FeatureEntry[]", "Mine"));
  assert.equal(await grow("sql-files"), `2 Cannot copy to ${target}: ${index} has no list of features`);
  assert.ok(!existsSync(join(target, "lib/features/sql-files")));
});

test("npm run copy asks on a terminal which features to add, one a line", { skip: noTerminal }, async () => {
  const target = join(directory, "asked");
  const asked = startOnTerminal([target], 80, { command: copyScript });
  await asked.until("stdout", /confirm[\s\S]*└/);
  const screen = new Screen(80);
  await screen.show(asked.printed.stdout);
  assert.deepEqual(
    screen.rows.filter((row) => row.includes("◻")).map((row) => /◻ ([a-z-]+) +[\d,]+ {2}(.*)$/.exec(row)?.slice(1)),
    features.map(({ name, about }) => [name, about]),
  );
  asked.child.stdin.write(" "); // the first one
  await asked.until("stdout", /◼/);
  asked.child.stdin.write("\x1b[B "); // the second one
  await asked.until("stdout", /◼\S* sandbox/);
  asked.child.stdin.write("\r");
  const { status, stdout } = await asked.ended;
  const ended = new Screen(80);
  await ended.show(stdout);
  assert.match(ended.rows[1]!, /^◇ {2}The core has [\d,]+ lines\. Which features shall it have\?$/);
  assert.equal(ended.rows[2], `│  ${names[0]}, ${names[1]}`);
  const listed = names.slice(0, 2).map((name) => `, ${name} \\(\\d+\\)`);
  assert.match(ended.lines[3]!, new RegExp(`^Copied, with their lines: the core \\([\\d,]+\\)${listed.join("")}$`));
  assert.equal(status, 0);
  assert.ok(existsSync(join(target, "lib/features", names[0]!)));

  assert.deepEqual(await copy([join(directory, "no")], root, async () => undefined), {
    status: 130,
    text: "Nothing was copied",
  });
  assert.ok(!existsSync(join(directory, "no")));
});

test("npm run copy refuses a folder that is not empty and invalid arguments, in one line", async () => {
  const file = join(directory, "file");
  writeFileSync(file, "kept");
  const one = "Name one folder: npm run copy -- FOLDER [--with FEATURE,...]";
  const none = `Cannot copy to ../mine: there is no feature "legder", but ${names.join(", ")}`;
  const cases: [args: string[], message: string][] = [
    [[], one],
    [["a", "b"], one],
    [[file], `Cannot copy to ${file}: it is no folder`],
    [[directory], `Cannot copy to ${directory}: it is not empty, and no copy`],
    [["lib/mine"], "Cannot copy to lib/mine: it is in the folder that is copied"],
    [["../mine", "--with", "rows,legder"], none],
    [["../mine", "--with"], "Option '--with <value>' argument missing"],
  ];
  for (const [args, text] of cases) assert.deepEqual(await copy(args, root), { status: 2, text });
  assert.deepEqual(readdirSync(directory).includes("myscript.ts"), false);
  const { status, text } = await copy(["--help"], root);
  assert.match(text, /^Usage: npm run copy -- FOLDER \[--with FEATURE,...\]\n/);
  for (const { name, about } of features)
    assert.match(text, new RegExp(`^ {2}${name} +[\\d,]+ {2}${escaped(about)}$`, "m"));
  assert.equal(status, 0);
});

/** Matches the command lines of a page. */
const commandsIn = /(?<=^```sh\n)[\s\S]*?(?=^```$)|`npx tsx [^`]+`/gm;

/** Returns the files that a copy imports or links to, and that it lacks. */
function missingIn(files: Files): string[] {
  return [...files].flatMap(([path, text]) => {
    if (path.endsWith(".md")) {
      const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
      return links.filter((target) => !existsIn(files, path, target)).map((target) => `${path}: ${target}`);
    }
    const paths = /\.[jt]s$/.test(path) ? importsIn(path, text) : [];
    return paths.filter((imported) => !files.has(imported)).map((imported) => `${path}: ${imported}`);
  });
}

function allBut(name: string): string[] {
  return names.filter((other) => other !== name);
}

async function hasItsTypes(folder: string): Promise<void> {
  const ended = await run([], { command: ["node_modules/.bin/tsc"], folder });
  assert.deepEqual(ended, { status: 0, stdout: "", stderr: "" });
}

function readJson(path: string) {
  return JSON.parse(readFileSync(path, "utf8"));
}

function escaped(text: string): string {
  return text.replace(/[()]/g, "\\$&");
}
