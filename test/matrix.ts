/**
 * Runs the tests on each server in turn. Prints how many passed, failed and were skipped, with the reasons.
 *
 * The arguments name servers and test files, such as `mysql-9.7 rows ledger`. The default is all.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "./run.ts";
import { serverNames } from "./target.ts";

const wanted = process.argv.slice(2);
const isServer = (name: string) => (serverNames as readonly string[]).includes(name);
const servers = wanted.some(isServer) ? wanted.filter(isServer) : serverNames;
const names = wanted.filter((name) => !isServer(name));
const files = readdirSync(join(root, "test"))
  .filter((file) => file.endsWith(".test.ts"))
  .filter((file) => names.length === 0 || names.includes(file.replace(".test.ts", "")));
const tsx = join(root, "node_modules/.bin/tsx");
const command = [tsx, "--test", "--test-concurrency=3", "--test-timeout=1800000", "--test-reporter=tap"];

console.log("server         passed  failed  skipped");
for (const server of servers) {
  const env = { TEST_SERVER: server, PATH: process.env.PATH };
  const { stdout, status } = await run(
    files.map((file) => `test/${file}`),
    { command, env, patienceSeconds: 3600 },
  );
  const count = (what: string) => new RegExp(`^# ${what} (\\d+)$`, "m").exec(stdout)?.[1] ?? "?";
  console.log(
    `${server.padEnd(15)}${["pass", "fail", "skipped"].map((what) => count(what).padEnd(8)).join("")}`.trimEnd(),
  );
  const reasons = [...stdout.matchAll(/^ *ok .* # SKIP (.*)$/gm)].map(([, reason]) => reason);
  for (const reason of new Set(reasons)) console.log(`  skipped: ${reason}`);
  if (status === 0) continue;
  process.exitCode = 1;
  for (const [, title, why] of stdout.matchAll(/^ *not ok \d+ - (.*)\n([\s\S]*?)^ *\.\.\.$/gm))
    console.log(`  failed: ${title}\n${why}`);
}
