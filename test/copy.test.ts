import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { startSandbox } from "../lib/features/sandbox/sandbox.ts";
import { root, run, runtime } from "./run.ts";
import { inSoak } from "./soak.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript copy "));
const sandbox = await startSandbox({ orders: 250 });
after(async () => {
  await sandbox.stop();
  rmSync(directory, { recursive: true });
});

const copy = [...runtime, "test/copy/copy.ts"];

test("npm run copy makes a copy with what is needed only, which has its types and runs from any folder", async () => {
  const target = join(directory, "My batch's");
  const made = await run([target], { command: copy });
  const how = `cd '${target.replace("'", "'\\''")}' && npm install && ./myscript.ts`;
  assert.deepEqual(made, { status: 0, stdout: `Copied. To run it: ${how}\n`, stderr: "" });
  const names = [".gitignore", "README.md", "lib", "myscript.ts", "package.json", "tsconfig.json"];
  assert.deepEqual(readdirSync(target).sort(), names);
  const { name, dependencies, devDependencies } = JSON.parse(readFileSync(join(target, "package.json"), "utf8"));
  assert.equal(name, "my-batch-s");
  mkdirSync(join(target, "node_modules"));
  const needed = [...Object.keys(dependencies), ...Object.keys(devDependencies), ".bin"];
  for (const scope of ["@types"]) mkdirSync(join(target, "node_modules", scope));
  for (const name of needed) symlinkSync(join(root, "node_modules", name), join(target, "node_modules", name));
  writeFileSync(join(target, "second.ts"), "const wrong: string = 7;\nexport { wrong };\n");

  const types = await run([target], { command: ["sh", "-c", 'cd "$0" && node_modules/.bin/tsc'] });
  assert.match(
    types.stdout,
    /^second\.ts\(1,7\): error TS2322: [^\n]*\n$/,
    "all scripts are checked, and lib/ is right",
  );
  const inRoot = ["sh", "-c", 'cd /; exec "$0" "$@"', join(target, "myscript.ts")];
  const ran = await run(["-S", sandbox.db.socketPath, "-u", "root", "-D", "myscript"], { command: inRoot });
  assert.match(ran.stderr, /^3 of 3 queries done, .*\n250 rows/m);
  assert.equal(ran.status, 0);
});

test("npm run copy refuses a folder that is not empty and whatever else makes no sense, in one line", {
  skip: inSoak,
}, async () => {
  const file = join(directory, "file");
  writeFileSync(file, "kept");
  const cases: [args: string[], message: string][] = [
    [[], "Name one folder: npm run copy -- FOLDER"],
    [["a", "b"], "Name one folder: npm run copy -- FOLDER"],
    [[file], `Cannot copy to ${file}: it is no folder`],
    [[directory], `Cannot copy to ${directory}: it is not empty`],
    [["lib/mine"], "Cannot copy to lib/mine: it is in the folder that is copied"],
  ];
  for (const [args, message] of cases) {
    assert.deepEqual(await run(args, { command: copy }), { status: 2, stdout: "", stderr: `${message}\n` });
  }
  assert.deepEqual(readdirSync(directory).includes("myscript.ts"), false);
  const { status, stdout } = await run(["--help"], { command: ["npm", "run", "--silent", "copy", "--"] });
  assert.match(stdout, /^Usage: npm run copy -- FOLDER\n/);
  assert.equal(status, 0);
});
