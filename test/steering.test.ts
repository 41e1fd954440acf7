/** Control of a run: by lines on its control socket, and by keys on its terminal. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { watchReplicas } from "../lib/features/lag/hook.ts";
import { openControl } from "../lib/features/steering/control.ts";
import { changeRate, obey, Steering } from "../lib/features/steering/steering.ts";
import { throttle } from "../lib/features/throttle/hook.ts";
import { doWork } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { useDatabase } from "./database.ts";
import { poll, run, start, viaNode } from "./run.ts";
import { noTerminal, startOnTerminal } from "./terminal.ts";
import { silent } from "./watch.ts";

const { db, sql } = await useDatabase();
const directory = mkdtempSync(join(tmpdir(), "myscript-steering-"));
after(() => rmSync(directory, { recursive: true }));
const server = ["-S", db.socketPath, "-u", "root", "-D", "myscript"];
await sql("CREATE TABLE gated (id INT PRIMARY KEY, v INT)");
const total = 40;
// Each query waits while the test has the lock.
const gated = join(directory, "gated.sql");
const insert = (n: number) => `REPLACE INTO gated VALUES (${n}, GET_LOCK('gate', 3600) + RELEASE_LOCK('gate'));\n`;
writeFileSync(gated, Array.from({ length: total }, (_, n) => insert(n + 1)).join(""));

interface Status {
  done: number;
  held: string | null;
  rate: number | null;
  inFlight: { worker: number; seq: number; sql: string }[];
}

/** Sends lines to the control socket, as a cron job does with nc. Returns the answers. */
async function tell<Answer = Record<string, unknown>>(path: string, ...lines: string[]): Promise<Answer[]> {
  const socket = createConnection({ path, allowHalfOpen: true });
  socket.end(lines.map((line) => `${line}\n`).join(""));
  let answers = "";
  for await (const chunk of socket) answers += chunk;
  return answers
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

test("--control pauses, limits and drains a run, which a job log with its comments resumes after a kill", async () => {
  const control = join(directory, "control");
  const joblog = join(directory, "log");
  const args = [...server, "-j", "4", "--control", control, "--joblog", joblog, gated];
  const status = async () => (await tell<Status>(control, "status"))[0]!;
  const inFlight = async (count: number) => {
    await poll(async () => (await status()).inFlight.length === count);
    // The number does not grow during 20 requests.
    for (let times = 0; times < 20; times++) assert.equal((await status()).inFlight.length, count);
    return (await status()).inFlight;
  };
  await sql("DO GET_LOCK('gate', 0)");
  const first = start(args);
  await poll(() => status().then(Boolean, () => false));
  assert.equal(statSync(control).mode & 0o777, 0o600);
  const waiting = await inFlight(4);
  assert.match(waiting[0]!.sql, /^REPLACE INTO gated VALUES \(1, GET_LOCK/);
  const second = await run([...server, "--control", control, "-"], { input: "DO 1" });
  assert.ok(second.stderr.endsWith(`myscript: Cannot use --control "${control}": another run is using it\n`));
  assert.equal(second.status, 2);

  // After a pause, the four queries end and no other begins. Then only two workers take further queries.
  await tell(control, "pause");
  await sql("DO RELEASE_LOCK('gate')");
  await inFlight(0);
  await sql("DO GET_LOCK('gate', 0)");
  const paused = await status();
  assert.deepEqual([paused.done, paused.held], [4, "paused by hand"]);
  const quiet = { maxLoad: null, criticalLoad: null, maxLag: null };
  assert.deepEqual(await tell(control, "workers 2", "rate 1000", "max-load Threads_running=90", "resume"), [
    { paused: true, rate: null, ...quiet, workers: 2 },
    { paused: true, rate: 1000, ...quiet, workers: 2 },
    { paused: true, rate: 1000, ...quiet, maxLoad: "Threads_running=90", workers: 2 },
    { paused: false, rate: 1000, ...quiet, maxLoad: "Threads_running=90", workers: 2 },
  ]);
  assert.deepEqual((await inFlight(2)).map(({ worker }) => worker).sort(), [1, 2]);
  assert.deepEqual(await tell(control, "workers 5", "rate fast"), [
    { error: 'workers must be a whole number from 1 to 4, not "5"' },
    { error: 'rate must be a number of queries a second from 0.0001 to 1000000, not "fast"' },
  ]);
  await tell(control, "workers 4");
  await inFlight(4);
  const comments = () => [...readFileSync(joblog, "utf8").matchAll(/^# \S+Z (.*)$/gm)].map(([, text]) => text);
  await poll(() => comments().length === 6); // the log is written within 200 ms
  first.child.kill("SIGKILL");
  await first.ended;
  assert.match(first.printed.stderr, /^changed: max-load Threads_running=90$/m);
  assert.deepEqual(comments(), [
    "pause",
    "workers 2",
    "rate 1000",
    "max-load Threads_running=90",
    "resume",
    "workers 4",
  ]);

  // The killed run's socket is still there, and the next run replaces it.
  assert.ok(existsSync(control));
  const third = start([...args, "--resume", "--retry-unknown"]);
  await poll(async () => (await status().catch(() => undefined))?.inFlight.length === 4);
  await tell(control, "drain");
  await sql("DO RELEASE_LOCK('gate')");
  const drained = await third.ended;
  assert.match(drained.stderr, /^ended early: drained by hand$/m);
  assert.equal(drained.status, 1);
  assert.ok(!existsSync(control), "the socket is removed");
  const last = await run([...args, "--resume", "--retry-unknown"]);
  assert.equal(last.status, 0, last.stderr);
  assert.deepEqual(await sql("SELECT COUNT(*) AS n FROM gated"), [{ n: total }]);
});

test("--max-workers permits more workers later, which connect only then", async () => {
  const control = join(directory, "more");
  const status = async () => (await tell<Status>(control, "status"))[0]!;
  const numbers = async () => (await status()).inFlight.map(({ worker }) => worker).sort();
  const connections = async () => {
    const rows = await sql("SELECT 1 FROM information_schema.processlist WHERE command IN ('Query', 'Sleep')");
    return rows.length - 1; // without the test's own connection
  };
  await sql("DO GET_LOCK('gate', 0)");
  const running = start([...server, "-j", "2", "--max-workers", "5", "--rate", "100000", "--control", control, gated]);
  await poll(async () => (await numbers().catch(() => [])).length === 2);
  assert.deepEqual([await numbers(), await connections()], [[1, 2], 2]);
  assert.deepEqual(await tell(control, "workers 6"), [
    { error: 'workers must be a whole number from 1 to 5, not "6"' },
  ]);
  await tell(control, "workers 4");
  await poll(async () => (await numbers()).length === 4);
  assert.deepEqual([await numbers(), await connections()], [[1, 2, 3, 4], 4]);
  await tell(control, "workers 5", "workers 3");
  await sql("DO RELEASE_LOCK('gate')");
  const { status: exit, stderr } = await running.ended;
  assert.equal(exit, 0, stderr);
  assert.match(stderr, new RegExp(`^${total} of ${total} queries done`, "m"));

  // Workers that were not requested do not replace those that give up.
  const lines: string[] = [];
  myglobals.config = { db: { ...db, socketPath: `${db.socketPath}.no` } };
  const options = { maxWorkers: 8, connectTimeoutSeconds: 0.3 };
  const progress = { ...silent, log: (line: string) => void lines.push(line) };
  await assert.rejects(doWork(["DO 1"], 1, { ...options, progress }), /ENOENT/);
  myglobals.config = { db };
  assert.deepEqual(
    lines.filter((line) => /going on/.test(line)),
    [],
  );
});

test("openControl() replaces only the socket of a dead run, and answers line by line", async (t) => {
  const file = join(directory, "file");
  writeFileSync(file, "mine");
  const obeyed = async (line: string) => ({ line });
  for (const [path, reason] of [
    [file, "it exists and is not a socket"],
    [join(directory, "no", "where"), "no such file or directory"],
    [join(directory, "x".repeat(120)), `it must not be longer than ${process.platform === "linux" ? 107 : 103} bytes`],
  ] as const) {
    const message = `Cannot use --control ${JSON.stringify(path)}: ${reason}`;
    await assert.rejects(openControl(path, obeyed), { message });
  }
  assert.equal(readFileSync(file, "utf8"), "mine");

  const path = join(directory, "echo");
  const stop = await openControl(path, obeyed);
  t.after(stop);
  assert.deepEqual(await tell(path, "a", "", " b ", "ħ"), [{ line: "a" }, { line: " b " }, { line: "ħ" }]);
  const unanswered = await tell(path, "x".repeat(100_000)).catch(() => []);
  assert.deepEqual(unanswered, []);
  assert.deepEqual(await tell(path, "c"), [{ line: "c" }]);
  stop();
  assert.ok(!existsSync(path));
});

test("openControl() serves each client although others send without end or read no answer, and drops clients that are gone", async (t) => {
  const path = join(directory, "flooded");
  const asked: string[] = [];
  const stop = await openControl(path, async (line) => {
    asked.push(line);
    return "x".repeat(10_000);
  });
  t.after(stop);
  const count = (line: string) => asked.filter((each) => each === line).length;
  const flood = async (line: string) => {
    const socket = createConnection(path).on("error", () => {});
    t.after(() => socket.destroy());
    await new Promise((resolve) => socket.write(`${line}\n`.repeat(10_000), resolve));
    return socket;
  };
  const asksOn = await flood("reads");
  asksOn.resume();
  const takesNone = await flood("deaf");
  const leaves = await flood("gone");
  leaves.destroy();
  await tell(path, "drain");
  assert.ok(count("reads") < 10_000, "drain is not the last one");
  /** True if the line was obeyed while three other clients were served. */
  const isHeeded = async (line: string) => {
    const before = count(line);
    for (let times = 0; times < 3; times++) await tell(path, "status");
    return count(line) > before;
  };
  for (const line of ["deaf", "gone"]) {
    await poll(async () => !(await isHeeded(line)));
    assert.ok(count(line) < 10_000, line);
  }
  await poll(() => isHeeded("reads"));
  takesNone.resume();
  await poll(() => isHeeded("deaf"));
});

test("obey() carries out a line, or answers with the right form and changes nothing", async () => {
  const drain = new AbortController();
  const changes: string[] = [];
  const servers = [{ db, where: "db1" }];
  const throttling = await throttle({}, { servers, drain });
  const lag = await watchReplicas({}, { servers, server: undefined, progress: silent });
  const dials = [...throttling.dials!, ...lag.dials!];
  const onChange = (change: string) => void changes.push(change);
  const steering = new Steering({ workers: 3, maxWorkers: 3, progress: silent, drain, dials: () => dials, onChange });
  const gates = [steering, ...throttling.options!.gates!];
  const limit = (ended: number) => Math.min(...gates.map((gate) => gate.limit(ended, 3)));
  const reason = () => gates.find((gate) => gate.reason !== undefined)?.reason;
  const { settings } = steering;
  for (const [line, message] of [
    [
      "",
      /^Unknown command "": it may be status, pause, resume, drain, rate, max-load, critical-load, max-lag, workers$/,
    ],
    ["toString", /^Unknown command "toString"/],
    ["pause now", /^pause takes no argument, not "now"$/],
    ["rate 0", /rate must be a number of queries a second from 0.0001 to 1000000, not "0"$/],
    ["workers 0", /workers must be a whole number from 1 to 3, not "0"$/],
    ["max-load Threads_runing=1", /max-load: the server has no numeric status variable Threads_runing$/],
    ["critical-load Threads_runing=1", /critical-load: the server has no numeric status variable Threads_runing$/],
    ["max-load 5", /max-load must be like Threads_running=25/],
    ["max-lag 5", /^The replicas were not named at the start: --replicas db2,db3:3307, or auto$/],
  ] as const) {
    await assert.rejects(obey(steering, line), { name: "Error", message });
  }
  assert.deepEqual([steering.settings, changes], [settings, []]);

  assert.equal(limit(7), Number.POSITIVE_INFINITY);
  await obey(steering, "max-load Threads_connected=0");
  assert.equal(limit(7), 7);
  assert.match(reason() ?? "", /^paused: Threads_connected is \d+ on db1, above 0$/);
  await obey(steering, " max-load  off ");
  await obey(steering, "rate 40");
  assert.equal(limit(7), 8);
  await changeRate(steering, 1.25);
  await changeRate(steering, 0.75);
  await obey(steering, "rate off");
  await changeRate(steering, 1.25); // the run has no rate limit
  await changeRate(steering, 0.75); // the run has done nothing, so it has no rate
  await obey(steering, "workers 2");
  await obey(steering, "pause");
  await obey(steering, "pause");
  assert.deepEqual([limit(7), reason(), steering.workers], [7, "paused by hand", 2]);
  await obey(steering, "resume");
  await obey(steering, "drain");
  assert.ok(drain.signal.aborted);
  const expected =
    "max-load Threads_connected=0,max-load off,rate 40,rate 50,rate 37.5,rate off,workers 2,pause,resume,drain";
  assert.equal(changes.join(), expected);
  throttling.close?.();
});

test("keys on a terminal control the run, and the terminal's modes are restored", { skip: noTerminal }, async () => {
  await sql("DO GET_LOCK('gate', 0)");
  const command = ["sh", "-c", '"$@"; echo "status $?"; stty -a', "sh", ...viaNode];
  const running = startOnTerminal([...server, "-j", "2", "--rate", "40", gated], 100, { command });
  const type = (key: string) => running.child.stdin.write(key);
  const printed = (pattern: RegExp) => running.until("stdout", pattern);
  const modes = () => execFileSync("stty", ["-a", "-F", `/proc/${pid}/fd/2`], { encoding: "utf8" });
  const waiting = "SELECT 1 FROM information_schema.processlist WHERE state = 'User lock'";
  await poll(async () => (await sql(waiting)).length === 2);
  const shell = await running.pid;
  const pid = Number(readFileSync(`/proc/${shell}/task/${shell}/children`, "utf8"));
  const isStopped = () => /^\d+ \(.*\) T/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  await printed(
    /\x1b\[2mp pauses and goes on, \+ and - change the rate, \? shows the workers, q ends the run\x1b\[22m/,
  );
  assert.match(modes(), /-icanon .*-echo /s);
  type("?");
  await printed(/worker 1, thread \d: query \d, [\d.]+ s: REPLACE INTO gated/);
  type("p");
  await printed(/changed: pause[\s\S]*paused by hand/);
  type("+-p");
  await printed(/changed: rate 50[\s\S]*changed: rate 37\.5[\s\S]*changed: resume/);
  type("\x1a"); // Ctrl-Z
  await poll(isStopped);
  assert.match(modes(), / icanon .* echo /s);
  process.kill(pid, "SIGCONT");
  await poll(() => / -icanon .* -echo /s.test(modes()));
  type("qq");
  await printed(/SIGINT: waiting for what is in flight; once more interrupts it/);
  await sql("DO RELEASE_LOCK('gate')");
  const { stdout } = await running.ended;
  assert.match(stdout, /status 130/);
  assert.match(stdout.slice(stdout.indexOf("status 130")), / icanon .* echo /s);
});

test("a run in the background of a terminal does not change it", { skip: noTerminal }, async () => {
  const command = ["sh", "-c", 'set -m; "$@" & wait $!; echo "status $?"; stty -a', "sh", ...viaNode];
  const file = join(directory, "few.sql");
  writeFileSync(file, "DO 1;\nDO 2;\n");
  const { stdout } = await startOnTerminal([...server, file], 100, { command }).ended;
  assert.match(stdout, /status 0[\s\S]* icanon .* echo /s);
});
