/**
 * Runs the script, and the tests that depend on the runtime, on several versions of Node, on Deno and on Bun from npm. Prints what
 * passed on each. The tests are those of `doWork()`, of each way of sending queries, and of the shared memory.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { type Ended, root, run } from "./run.ts";

interface Way {
  readonly how: string;
  readonly script: string;
  readonly test: string;
}

const limits = "--test-concurrency=2 --test-timeout=600000";
const tsx: Way = { how: "tsx", script: "tsx myscript.ts", test: `tsx --test ${limits} --test-reporter=tap` };
/** Node 20.6, whose test runner does not know the options of `limits`. */
const oldest: Way = { ...tsx, test: tsx.test.replace(`${limits} `, "") };
const node: Way = {
  how: "natively",
  script: "node myscript.ts",
  test: `node --test ${limits} --test-reporter=tap`,
};
const deno: Way = { how: "natively", script: "deno run -A myscript.ts", test: "deno check && deno test -A --no-check" };
const bun: Way = { how: "natively", script: "bun myscript.ts", test: "bun test --timeout=60000" };

const memory = "./test/segment.test.ts ./test/counters.test.ts ./test/records.test.ts";
const some = `${memory} ./test/mp.test.ts ./test/ways.test.ts ./test/myglobals.test.ts ./test/bundle.test.ts`;
const runtimes: readonly { wanted: string; way: Way; tests?: string }[] = [
  // The oldest Node with module.register(), which tsx needs in a thread. Its node:test never ends a file with an open connection.
  { wanted: "node@20.6.0", way: oldest, tests: memory },
  { wanted: "node@20", way: tsx },
  { wanted: "node@22.18.0", way: tsx }, // the oldest Node that reads TypeScript
  { wanted: "node@22.18.0", way: node },
  { wanted: "node@22", way: tsx },
  { wanted: "node@22", way: node },
  { wanted: "node@24", way: tsx },
  { wanted: "node@24", way: node },
  { wanted: "node@26", way: tsx },
  { wanted: "node@26", way: node },
  { wanted: "deno@2", way: deno },
  { wanted: "bun@1", way: bun },
];

const tooOld = "node@20.5.1";
const bin = "node_modules/.bin";
const directory = mkdtempSync(join(tmpdir(), "runtimes-"));
process.once("exit", () => rmSync(directory, { recursive: true }));
for (const wanted of new Set([tooOld, ...runtimes.map(({ wanted }) => wanted)])) {
  const args = ["install", "--loglevel=error", "--prefix", join(directory, wanted), wanted];
  execFileSync("npm", args, { stdio: ["ignore", "ignore", "inherit"], timeout: 120_000 });
}

print("runtime", "how", "script", "tests passed");
for (const { wanted, way, tests = some } of runtimes) {
  const [name] = wanted.split("@") as [string];
  const { stdout: version } = await on(wanted, `${name} --version`);
  const script = await on(wanted, way.script);
  const updated = script.status === 0 && /^2,000 of 2,000 queries .*\n200,000 rows/m.test(script.stderr);
  const test = await on(wanted, `${way.test} ${tests}`);
  const output = test.stdout + test.stderr;
  const [, tap, other] = /^# pass (\d+)$|\b(\d+) pass(?:ed)?\b/m.exec(output) ?? [];
  const passed = `${tap ?? other ?? 0}${test.status === 0 ? "" : ", and some FAILED"}`;
  print(`${name} ${/\d[\d.]+/.exec(version)}`, way.how, updated ? "passed" : "FAILED", passed);
  if (!updated) console.error(script.stdout + script.stderr);
  if (test.status !== 0) console.error(output);
  if (!updated || test.status !== 0) process.exitCode = 1;
}

const { status, stderr } = await on(tooOld, tsx.script);
const refused = status === 2 && stderr === "myscript: Cannot run on Node 20.5.1: Node must be 20.6 or later\n";
print("node 20.5.1", "tsx", refused ? "refused" : "FAILED", "");
if (!refused) process.exitCode = 1;

/** Runs a command line. Its PATH begins with the runtime and with node_modules/.bin. */
function on(wanted: string, command: string): Promise<Ended> {
  const path = [join(directory, wanted, bin), join(root, bin), process.env.PATH].join(delimiter);
  const env = { PATH: path, DENO_DIR: join(directory, "deno"), NO_COLOR: "1" };
  return run([], { command: ["sh", "-c", command], env, patienceSeconds: 900 });
}

function print(...cells: [string, string, string, string]): void {
  console.log(
    cells
      .map((cell) => cell.padEnd(14))
      .join("")
      .trimEnd(),
  );
}
