/** The bar as a person sees it, in a terminal emulator. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { after, beforeEach, test } from "node:test";
import mysql from "mysql2/promise";
import { startSandbox } from "../lib/features/sandbox/sandbox.ts";
import type { Snapshot } from "../lib/parent/figures.ts";
import { createProgress } from "../lib/parent/progress.ts";
import { printable } from "../lib/parent/text.ts";
import { poll, run, runtime } from "./run.ts";
import { frameEnd, moments, noTerminal, type OnTerminal, Screen, startOnTerminal } from "./terminal.ts";

const sandbox = await startSandbox({ orders: 0 });
const directory = mkdtempSync(join(tmpdir(), "myscript-progress-"));
const connection = await mysql.createConnection(sandbox.db);
after(async () => {
  connection.destroy();
  await sandbox.stop();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  // The environment of a person's terminal, and not of CI.
  delete process.env.CI;
  process.env.TERM = "xterm";
});

const server = ["-S", sandbox.db.socketPath, "-u", "root", "-D", "myscript"];
const hint = "p pauses and goes on, + and - change the rate, ? shows the workers, q ends the run";
const talk = [...runtime, "test/scripts/talk.ts"];
const snapshot: Snapshot = {
  ended: 0,
  earlier: 0,
  failed: 0,
  unknown: 0,
  total: undefined,
  latencyMs: () => ({ p50: 0, p95: 0, p99: 0, max: 0 }),
  inFlight: () => [],
};

test("createProgress() shows an estimated total with a ~", async () => {
  const { stream, screen } = terminal(80);
  const progress = createProgress(stream);
  progress.update({ ...snapshot, total: 2000, isAbout: true });
  progress.update({ ...snapshot, ended: 500, total: 2000, isAbout: true });
  progress.log("drawn");
  assert.match((await screen()).rows[1]!, /^ 25 % █+░+ {4}500\/~2,000$/);
  progress.stop();
});

test("createProgress() on a terminal redraws one line, within the terminal's width", async () => {
  for (const columns of [120, 80, 60, 40, 20]) {
    for (const total of [10, 2000, 10_000_000]) {
      const { stream, screen } = terminal(columns);
      const progress = createProgress(stream);
      progress.update({ ...snapshot, total });
      progress.update({ ...snapshot, ended: total - 1, failed: 2, earlier: 3, total });
      progress.log("drawn");
      const rows = (await screen()).rows;
      progress.stop();
      const left = (await screen()).rows;
      assert.deepEqual([rows[0], rows.length, left.length], ["drawn", 2, 2]);
      for (const line of [rows[1]!, left[1]!]) {
        const count = new RegExp(`${(total - 1).toLocaleString("en-US")}/${total.toLocaleString("en-US")}`);
        assert.match(line, total === 10 ? /^ 90 %/ : /^ 99 %/, "not 100 % before the end");
        assert.match(line, columns > 20 || total === 10 ? count : /./);
        assert.ok(line.length < columns, `${line.length} of ${columns} columns`);
        if (columns >= 60) assert.match(line, /^ 9\d % █+░+ {2} *[\d,]+\/[\d,]+ {2}(3 earlier {2})?2 failed$/);
        if (columns >= 80) assert.match(line, / 3 earlier /);
      }
    }
  }
});

test("createProgress() shows failed and unknown queries separately", async () => {
  const { stream, screen } = terminal(80);
  const progress = createProgress(stream);
  progress.update({ ...snapshot, ended: 5, failed: 2, unknown: 1, total: 10 });
  assert.match((await screen()).rows.join("\n"), / {2} 5\/10 {2}2 failed {2}1 unknown$/);
  progress.stop();
});

test("createProgress() draws a bar from the start, which includes the queries of an earlier run", async () => {
  const { stream, screen } = terminal(80);
  const progress = createProgress(stream);
  progress.update({ ...snapshot, ended: 5, earlier: 5, total: 10 });
  const bar = /^ 50 % (█+)(░+) {2} 5\/10 {2}5 earlier$/.exec((await screen()).rows.join("\n"))!;
  assert.equal(bar[1]!.length, bar[2]!.length);
  progress.stop();
});

test("createProgress() shows nothing before the first query of a stream, then its count, then the bar", async () => {
  const { stream, screen } = terminal(80);
  const progress = createProgress(stream);
  progress.update(snapshot);
  progress.update({ ...snapshot, ended: 7, earlier: 7 });
  assert.deepEqual((await screen()).rows, []);
  progress.update({ ...snapshot, ended: 12_345 });
  assert.match((await screen()).rows[0]!, /^12,345 {2}0:00$/);
  progress.update({ ...snapshot, ended: 20_000, total: 20_000 });
  progress.stop();
  assert.match((await screen()).rows[0]!, /^100 % █+ {2}20,000\/20,000$/);
});

test("createProgress() shows the elapsed time while it waits for the first query of a slow stream", async (t) => {
  let seconds = 0;
  t.mock.method(performance, "now", () => seconds * 1000);
  const { stream, screen } = terminal(80);
  const progress = createProgress(stream);
  progress.update(snapshot);
  seconds = 2;
  progress.update(snapshot);
  seconds = 5;
  progress.update(snapshot);
  progress.log("said");
  assert.deepEqual((await screen()).rows, ["said", "0  0:03"]);
  progress.stop();
});

test("createProgress().log() wraps a hint between words, at any width", async () => {
  for (const columns of [120, 60, 40, 25]) {
    const { stream, screen } = terminal(columns);
    createProgress(stream).log(hint, true);
    const { rows, lines } = await screen();
    assert.deepEqual(lines, rows, "none is broken by the terminal");
    assert.equal(rows.join(" "), hint);
  }
});

test("printable() keeps the joiners of scripts and emoji, and no other invisible character", () => {
  const joined = "\u{1F469}\u200D\u{1F4BB} \u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645";
  assert.equal(printable(`${joined}\u202E\u200B\u2066\uFEFF`), `${joined}${"\uFFFD".repeat(4)}`);
});

test("createProgress() shows the reason of a pause, if necessary instead of the bar", async () => {
  const held = "paused: Threads_running is 12, above 8";
  for (const columns of [100, 60]) {
    const { stream, screen } = terminal(columns);
    const progress = createProgress(stream);
    progress.update({ ...snapshot, ended: 10, total: 2000, held });
    const [row] = (await screen()).rows;
    assert.ok(row!.startsWith("  0 % ") && row!.endsWith(`   10/2,000  ${held}`), row);
    assert.equal(row!.includes("░"), columns === 100);
    progress.stop();
  }
  const { stream, screen } = terminal(100);
  const progress = createProgress(stream);
  // A replica's error message contains data.
  progress.update({ ...snapshot, ended: 10, total: 2000, held: "paused: key 'a\x1b[2J\nb'" });
  const { rows } = await screen();
  progress.stop();
  assert.match(rows.join("\n"), /^ {2}0 % .* 10\/2,000 {2}paused: key 'a\uFFFD\[2J b'$/);
});

test("createProgress().log() prints above the bar, and after its end below it", async () => {
  const { stream, screen } = terminal(60);
  const long = "a long message, ".repeat(30).trim();
  const progress = createProgress(stream);
  progress.log("before");
  progress.update({ ...snapshot, ended: 1, total: 2 });
  progress.log(long);
  progress.update({ ...snapshot, ended: 2, total: 2 });
  progress.stop();
  progress.log("after");
  const { lines } = await screen();
  assert.deepEqual([lines[0], lines[1], lines[3], lines.length], ["before", long, "after", 4]);
  assert.match(lines[2]!, /^100 %/);
});

test("createProgress() without a terminal that can redraw a line prints no control characters, and nothing for a short run", () => {
  const cases: [isTTY: boolean, env: NodeJS.ProcessEnv][] = [
    [false, {}],
    [true, { TERM: "dumb" }],
    [true, { CI: "true" }],
  ];
  for (const [isTTY, env] of cases) {
    Object.assign(process.env, { TERM: "xterm" }, env);
    const { stream, written } = terminal(80);
    stream.isTTY = isTTY;
    const progress = createProgress(stream);
    progress.update({ ...snapshot, ended: 1, total: 2 });
    progress.log("a line");
    progress.stop();
    assert.equal(written(), "a line\n");
  }
});

test("createProgress() shows no time left at 100 %, even if the end takes long", async (t) => {
  let seconds = 0;
  t.mock.method(performance, "now", () => seconds * 1000);
  const { stream, screen } = terminal(80);
  const progress = createProgress(stream);
  const rows: string[] = [];
  for (; seconds <= 60; seconds++) {
    const ended = Math.min(10 * seconds, 500);
    progress.update({ ...snapshot, ended, total: 500, inFlight: () => Array(ended < 500 ? 4 : 0).fill({}) });
    progress.log(""); // draws the bar
    rows.push((await screen()).rows.at(-1)!);
  }
  progress.stop();
  assert.ok(
    rows.some((row) => / 98 % .* 1 s left$/.test(row)),
    rows.join("\n"),
  );
  const ended = rows.filter((row) => row.startsWith("100 %"));
  assert.ok(ended.length > 5);
  for (const row of ended) assert.match(row, /^100 % █+ {2}500\/500( {2}[\d.]+\/s)?$/);
});

test("createProgress() writes a log file that a person can read, up to a line a minute, and 100 % once", (t) => {
  let seconds = 0;
  t.mock.method(performance, "now", () => seconds * 1000);
  const { stream, written } = terminal(80);
  stream.isTTY = false;
  const progress = createProgress(stream);
  const total = 72_000;
  for (; seconds <= 7200; seconds++) {
    progress.update({
      ...snapshot,
      ended: 10 * seconds,
      total,
      inFlight: () => Array(seconds < 7200 ? 4 : 0).fill({}),
    });
  }
  progress.stop();
  const lines = written().trimEnd().split("\n");
  assert.equal(lines[0], "  0 %      50/72,000  10/s  2 h left");
  assert.equal(lines.at(-1), "100 %  72,000/72,000");
  assert.equal(lines.filter((line) => line.startsWith("100 %")).length, 1);
  assert.ok(lines.length < 150 && lines.length > 120, `${lines.length} lines`);
  const half = lines.find((line) => line.startsWith(" 50 %"));
  assert.match(half!, /^ 50 % {2}36,\d+\/72,000 {2}10\/s {2}(60 min|1 h) left$/);
});

test("on 60 columns, with 16 workers and long messages, one bar moves forward below all messages", {
  skip: noTerminal,
}, async () => {
  const columns = 60;
  const { stdout, status } = await halfWay(columns, async (running) => {
    process.kill(await running.pid, "SIGUSR2");
    await running.until("stdout", /(worker [\s\S]*){16}/);
  });
  const percents: number[] = [];
  const all: string[][] = [];
  for await (const screen of moments(stdout, columns)) {
    const { rows, lines } = screen;
    const bars = rows.filter((row) => /[█░]/.test(row));
    assert.ok(bars.length <= 1, `${bars.length} bars:\n${rows.join("\n")}`);
    if (bars.length === 0) continue;
    if (!/ 400\/400$/.test(bars[0]!)) assert.equal(bars[0], rows.at(-1), "nothing below it before the end");
    const [, percent, bar, ended] = /^ {0,2}(\d+) % ([█░]+) {2} *(\d+)\/400/.exec(bars[0]!)!;
    assert.equal(Number(percent), Math.floor(Number(ended) / 4));
    assert.equal(bar!.lastIndexOf("█") + 1, Math.floor((Number(ended) * bar!.length) / 400));
    percents.push(Number(percent));
    all.push(lines.filter((line) => !/[█░]/.test(line)));
  }
  assert.deepEqual(
    percents,
    percents.toSorted((a, b) => a - b),
    "it never goes back",
  );
  assert.equal(percents.at(-1), 100);
  assert.ok(percents.includes(50));
  for (const [index, lines] of all.entries()) {
    for (const line of all[index - 1] ?? []) assert.ok(lines.includes(line), `${line} is gone or torn`);
  }
  const reported = all
    .at(-1)!
    .filter((line) => /^worker \d+, thread \d: query \d+, [\d.]+ s: DO GET_LOCK.*x\W*$/.test(line));
  assert.equal(reported.length, 16, all.at(-1)!.join("\n"));
  assert.match(all.at(-1)!.join("\n"), /\n400 of 400 queries done, in [\d.]+ s \(\d+ a second\)\n/);
  assert.equal(status, 0);
});

test("a terminal that becomes narrower and wider shows one bar, and no remains of others", {
  skip: noTerminal,
}, async () => {
  const screen = new Screen(120);
  let shown = 0;
  const { stdout, status } = await halfWay(120, async (running) => {
    for (const columns of [60, 30, 45, 90]) {
      const drawn = () => running.printed.stdout.split(frameEnd).length;
      await screen.show(running.printed.stdout.slice(shown));
      shown = running.printed.stdout.length;
      screen.resize(columns);
      await running.resize(columns);
      const before = drawn();
      await poll(() => drawn() > before + 2);
    }
  });
  await screen.show(stdout.slice(shown));
  assert.equal(screen.lines.filter((line) => / %|[█░]/.test(line)).length, 1, screen.lines.join("\n"));
  const [said, bar, ...summary] = screen.lines.filter((line) => !hint.includes(line));
  assert.match(said!, /^root@.*, 16 workers, server \S+.*$/);
  assert.match(bar!, /^100 % █+ {2}400\/400$/);
  assert.deepEqual([summary.length, status], [3, 0]);
});

test("output of main() and the workers appears above the bar, in whole lines", { skip: noTerminal }, async () => {
  const { stdout, status } = await startOnTerminal(server, 80, { command: talk }).ended;
  let before: string[] = [];
  for await (const { rows, lines } of moments(stdout, 80)) {
    const bars = rows.filter((row) => /[█░]/.test(row));
    assert.ok(bars.length <= 1, rows.join("\n"));
    const said = lines.filter((line) => !/[█░]/.test(line));
    assert.deepEqual(said.slice(0, before.length), before, "what was said stays as it is");
    before = said;
  }
  assert.equal(before.filter((line) => line === "main begins").length, 1);
  for (let unit = 1; unit <= 40; unit++) {
    const at = before.indexOf(unit % 4 === 0 ? `unit ${unit}, is { unit: ${unit} }` : `unit    ${unit}`);
    assert.equal(at >= 0, unit % 4 <= 1, before.join("\n"));
    if (unit % 4 === 1) assert.equal(before[at + 1], "has\uFFFD failed");
  }
  assert.match(before.join("\n"), /^\(node:\d+\) Warning: unit 40 is the last$/m);
  assert.equal(before.filter((line) => line.startsWith("Ignoring invalid configuration option")).length, 1);
  assert.match(before.join("\n"), /\nmain ends\n40 of 40 units done/);
  assert.equal(status, 0);
});

test("output of main() and the workers goes to stdout and stderr unchanged, and to stderr if stdout is for data", async () => {
  const [plain, data] = await Promise.all([[], ["--json"]].map((args) => run([...server, ...args], { command: talk })));
  const said = plain!.stdout.trimEnd().split("\n");
  const units = Array.from({ length: 10 }, (_, index) => `unit ${index * 4 + 4}, is { unit: ${index * 4 + 4} }`);
  assert.equal(said[0], "main begins");
  assert.deepEqual(said.slice(1).sort(), units.toSorted());
  assert.match(plain!.stderr, /^\x1b\[31munit\x1b\[0m\t5\nhas\x07 failed$/m);
  assert.equal(JSON.parse(data!.stdout).done, 40);
  for (const line of ["main begins", ...units, "main ends"]) assert.ok(data!.stderr.split("\n").includes(line), line);
});

test("keys that are pressed before the run are not echoed on the terminal", { skip: noTerminal }, async () => {
  const file = join(directory, "early.sql");
  writeFileSync(file, "DO SLEEP(0.2);\n".repeat(4));
  const running = startOnTerminal([...server, "-j", "1", file], 80);
  running.child.stdin.write("xyz");
  const { stdout } = await running.ended;
  const screen = new Screen(80);
  await screen.show(stdout);
  assert.match(screen.lines[0]!, /^root@/, screen.lines.join("\n"));
  assert.doesNotMatch(screen.lines.join("\n"), /xyz/);
});

test("rows that are printed on the terminal are not mixed with a bar", { skip: noTerminal }, async () => {
  const file = join(directory, "rows.sql");
  writeFileSync(file, "SELECT SLEEP(0.1) AS s;\n".repeat(20));
  const { stdout } = await startOnTerminal([...server, "-j", "2", "--rows", file], 80).ended;
  const screen = new Screen(80);
  await screen.show(stdout);
  assert.equal(screen.lines.filter((line) => /^\{"seq":\d+,"row":\{"s":0\}\}$/.test(line)).length, 20);
  assert.doesNotMatch(stdout, / %|\x1b/);
});

/** Runs 400 queries with 16 workers. Calls `then` when 200 are done and every worker waits for the test's lock. */
async function halfWay(columns: number, then: (running: OnTerminal) => Promise<void>) {
  const file = join(directory, "halves.sql");
  const wait = `DO GET_LOCK('gate', 3600) + RELEASE_LOCK('gate') /* ${"x".repeat(200)} */;\n`;
  writeFileSync(file, "DO SLEEP(0.01);\n".repeat(200) + wait.repeat(16) + "DO SLEEP(0.01);\n".repeat(184));
  await connection.query("DO GET_LOCK('gate', 0)");
  const running = startOnTerminal([...server, "-j", "16", file], columns);
  try {
    const waiting = "SELECT 1 FROM information_schema.processlist WHERE state = 'User lock'";
    await poll(async () => ((await connection.query(waiting))[0] as unknown[]).length === 16);
    await running.until("stdout", /\b50 % /);
    await then(running);
  } finally {
    await connection.query("DO RELEASE_ALL_LOCKS()");
  }
  return running.ended;
}

/** Returns a stream that is a terminal, with its screen and its raw output. */
function terminal(columns: number) {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns }) as unknown as NodeJS.WriteStream;
  let all = "";
  stream.on("data", (chunk) => {
    all += chunk;
  });
  const written = () => {
    stream.read();
    return all;
  };
  const screen = async () => {
    const shown = new Screen(columns);
    await shown.show(written().replaceAll("\n", "\r\n")); // as the terminal driver does
    return shown;
  };
  return { stream, screen, written };
}
