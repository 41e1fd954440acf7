import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { UsageError } from "../lib/command/errors.ts";
import { help, loadFeatures, parseFlags, tableOfFlags } from "../lib/command/flag-table.ts";
import { scaled } from "./soak.ts";

await loadFeatures();
const table = tableOfFlags();
const names = Object.keys(table);
const shorts = Object.entries(table).flatMap(([name, { letter }]) => (letter ? [{ name, letter }] : []));

test("the help fits a screen of 100 columns and 50 lines, and names the manual", () => {
  const lines = help().split("\n");
  assert.ok(lines.length <= 50, `${lines.length} lines`);
  const [, manual] = /^Manual: (\S+)$/.exec(lines.at(-1)!)!;
  assert.ok(existsSync(new URL(`../${manual}`, import.meta.url)));
  const wide = lines.filter((line) => line.length > 100);
  assert.deepEqual(wide, []);
});

test("the help lists every option that parses, and no other", () => {
  assert.deepEqual([...new Set(listed(/--([a-z][a-z-]*)/g))].sort(), [...names].sort());
  assert.deepEqual(
    [...new Set(listed(/(?<=^|[\s,])-([a-zA-Z]), (?=--)/gm))].sort(),
    shorts.map(({ letter }) => letter).sort(),
  );
  for (const { name, letter } of shorts) assert.match(help(), new RegExp(`-${letter}, --${name}\\b`));
});

test("parseFlags() has the defaults that the help gives", () => {
  const { workers, connectTimeout, retries } = parseFlags([]);
  const { batch } = flagsOf([]);
  const defaults = [...help().matchAll(/--(workers|batch|connect-timeout|retries) .*\((\d+)\)$/gm)];
  assert.deepEqual(Object.fromEntries(defaults.map(([, name, value]) => [name, Number(value)])), {
    workers,
    batch,
    "connect-timeout": connectTimeout,
    retries,
  });
});

test("parseFlags() takes short, long and joined forms, the last one counting", () => {
  for (const args of [["-j", "7"], ["-j7"], ["--workers", "7"], ["--workers=7"], ["-j9", "--workers=7"], ["-qj7"]])
    assert.equal(parseFlags(args).workers, 7, args.join(" "));
  assert.deepEqual([flagsOf(["--batch=8"]).batch, flagsOf(["--batch", "auto"]).batch], [8, "auto"]);
  const { given: server } = parseFlags(["-h", "a", "-P1", "-S", "b", "-u", "c", "-D", "d"]);
  const { host, port, socket, user, database } = server;
  assert.deepEqual([host, port, socket, user, database], ["a", "1", "b", "c", "d"]);
  assert.deepEqual(parseFlags(["a.sql", "-q", "-", "--", "--json", "-"].slice(0, 5)).files, ["a.sql", "-", "--json"]);
});

test("parseFlags() says in one line what is wrong, and what would be right", () => {
  const password = "a password goes into MYSQL_PWD or an option file, where ps does not show it";
  const noOption = "--help lists the options";
  const noPassword = "must not hold a password, which ps would show: put it into MYSQL_PWD or an option file";
  const url =
    "A server is named by --url, without a password: mysql://user@host:3306/database (a file of such a name: ./NAME)";
  const huge = "9".repeat(400);
  const cases: [args: string, message: string][] = [
    ["--wrokers=3", "Unknown option --wrokers: did you mean --workers?"],
    ["--max-fail", "Unknown option --max-fail: did you mean --max-failures?"],
    ["--qiuet", "Unknown option --qiuet: did you mean --quiet?"],
    ["--dryrun", "Unknown option --dryrun: did you mean --dry-run?"],
    ["--ssl", "Unknown option --ssl: did you mean --ssl-mode?"],
    ["--Help", "Unknown option --Help: did you mean --help?"],
    ["--verbose", `Unknown option --verbose: ${noOption}`],
    ["--jobs=3", `Unknown option --jobs: ${noOption}`],
    ["-x", `Unknown option -x: ${noOption}`],
    ["-psecret", `Unknown option -p: ${password}`],
    ["-p secret", `Unknown option -p: ${password}`],
    ["--password=secret", `Unknown option --password: ${password}`],
    ["--pasword secret", `Unknown option --pasword: ${password}`],
    ["--socket", "--socket needs a value"],
    ["-qj", "--workers needs a value"],
    ["--socket -q", '--socket needs a value: one that begins with "-" is given as --socket=VALUE'],
    ["-S -q", '-S needs a value: one that begins with "-" is given as -SVALUE'],
    ["--json=1", "--json takes no value"],
    ["-j 0", '--workers must be a whole number from 1 to 100000, not "0"'],
    ["-j 0x4", '--workers must be a whole number from 1 to 100000, not "0x4"'],
    ["-j=2", '-j=2 has one "=" too many: write -j 2 or --workers=2'],
    ["-qD=shop", '-D=shop has one "=" too many: write -D shop or --database=shop'],
    ["-j -2", '--workers must be a whole number from 1 to 100000, not "-2"'],
    ["-j 100000000000", '--workers must be a whole number from 1 to 100000, not "100000000000"'],
    ["--workers=1e3", '--workers must be a whole number from 1 to 100000, not "1e3"'],
    ["--threads 1.5", '--threads must be a whole number from 1 to 1000, not "1.5"'],
    ["-j 2000 --threads 2000", '--threads must be a whole number from 1 to 1000, not "2000"'],
    ["--batch 101", '--batch must be a whole number from 1 to 100, or "auto", not "101"'],
    ["--batch many", '--batch must be a whole number from 1 to 100, or "auto", not "many"'],
    ["--retries=-1", '--retries must be a whole number from 0 to 1000000, not "-1"'],
    ["--retries 9007199254740991", '--retries must be a whole number from 0 to 1000000, not "9007199254740991"'],
    ["--max-failures 0", '--max-failures must be a whole number from 1, not "0"'],
    ["--max-failures 9007199254740993", '--max-failures must be a whole number from 1, not "9007199254740993"'],
    ["--rate -1", '--rate must be a number of queries a second from 0.0001 to 1000000, not "-1"'],
    ["--rate 0.00001", '--rate must be a number of queries a second from 0.0001 to 1000000, not "0.00001"'],
    [`--rate ${huge}`, `--rate must be a number of queries a second from 0.0001 to 1000000, not "${huge}"`],
    ["--timeout 0", '--timeout must be a number of seconds from 0.001 to 2000000, not "0"'],
    ["--timeout 0.0001", '--timeout must be a number of seconds from 0.001 to 2000000, not "0.0001"'],
    ["--timeout 1s", '--timeout must be a number of seconds from 0.001 to 2000000, not "1s"'],
    ["--connect-timeout 3000000", '--connect-timeout must be a number of seconds from 0.001 to 2000000, not "3000000"'],
    ["--max-load a=1,b=x", '--max-load must be like Threads_running=25,Threads_connected=100, not "a=1,b=x"'],
    [`--max-load a=${huge}`, `--max-load must be like Threads_running=25,Threads_connected=100, not "a=${huge}"`],
    ["mysql://app:secret@db1/shop", url],
    ["mysql://db1/shop", url],
    ["app:secret@db1", url],
    ["-D mysql://app:secret@db1/shop", `-D ${noPassword}`],
    ["--socket=mysql://app:secret@db1/shop", `--socket ${noPassword}`],
    ["-u app:secret", `-u ${noPassword}`],
    ["--threads 5", "--threads 5 contradicts --workers 4: at most one thread a worker"],
    ["--dry-run --rows", "--rows contradicts --dry-run, which runs nothing"],
    ["--dry-run --json", "--json contradicts --dry-run, which runs nothing"],
    ["--ledger=", "--ledger must not be empty"],
    ["--max-lag 5", "--max-lag needs to know the replicas: --replicas db2,db3:3307, or auto"],
    ["--max-lag 0 --replicas db2", '--max-lag must be a number of seconds from 0.001 to 2000000, not "0"'],
    ["--control=", "--control must not be empty"],
    ["--max-workers 8", "--max-workers goes with --control SOCKET"],
    ["-j 4 --max-workers 3 --control c", "--max-workers 3 contradicts --workers 4: it is the most that there may be"],
    ["--replicas db2", "--replicas goes with --max-lag SECONDS"],
    ["--heartbeat h", "--heartbeat goes with --replicas and --max-lag SECONDS"],
    ["--channel c", "--channel goes with --replicas and --max-lag SECONDS"],
    [
      "--channel c --heartbeat h --replicas db2 --max-lag 5",
      "--channel contradicts --heartbeat, whose table tells the lag",
    ],
    ["--replicas= --max-lag 5", "--replicas must not be empty"],
    [
      "--replicas db2: --max-lag 5",
      '--replicas must be one or more hosts with ports 1 to 65535, like "db1,db2:3307,[::1]:3308"',
    ],
    ["- a.sql -", 'Standard input, "-", can be read only once'],
  ];
  for (const [args, message] of cases) assert.equal(refusal(args.split(" ")), message, args);
});

test("parseFlags() returns flags or says in one line what is wrong, for any arguments", () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`SEED=${seed} runs the same again`);
  const value = fc.oneof(
    fc.constantFrom("", "-", "--", "0", "1", "4", "-1", "2/3", "1.5", "Threads_running=25", "mysql://u:p@h", "x=y"),
    fc.string({ unit: "binary" }),
    fc.string({ unit: fc.constantFrom(..."-=jqhSP1a \n\x1b'\"") }),
  );
  const option = fc.constantFrom(...names.map((name) => `--${name}`), ...shorts.map(({ letter }) => `-${letter}`));
  const argument = fc.oneof(
    value,
    option,
    fc.tuple(option, fc.constantFrom("", "="), value).map((parts) => parts.join("")),
    fc.tuple(fc.constantFrom("-", "--", "---"), value).map((parts) => parts.join("")),
  );
  fc.assert(
    fc.property(fc.array(argument, { maxLength: 8 }), (args) => {
      const message = refusal(args);
      if (message === undefined) return;
      assert.doesNotMatch(message, /[\p{Cc}\u2028\u2029]/u);
      assert.ok(message.length > 10);
    }),
    { seed, numRuns: scaled(20_000, 1000) },
  );
});

/** The values of features' flags, too. */
function flagsOf(args: readonly string[]): Record<string, unknown> {
  return { ...parseFlags(args) };
}

/** What parseFlags() has against the arguments. */
function refusal(args: readonly string[]): string | undefined {
  try {
    parseFlags(args);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    return error.message;
  }
}

function listed(pattern: RegExp): string[] {
  return [...help().matchAll(pattern)].map(([, name]) => name!);
}
