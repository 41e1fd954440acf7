/** Runs that are paused from outside. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pauseFor } from "../lib/features/pause/hook.ts";
import { doWork } from "../lib/mp.ts";
import type { Progress } from "../lib/parent/progress.ts";
import { runHere } from "./command.ts";
import { useDatabase } from "./database.ts";
import { poll } from "./run.ts";
import { silent } from "./watch.ts";

const { db, sql } = await useDatabase();
const directory = mkdtempSync(join(tmpdir(), "myscript-pause-"));
after(() => rmSync(directory, { recursive: true }));
const server = ["-S", db.socketPath, "-u", "root", "-D", "myscript"];
const servers = [{ db }];

test("--pause-file and --pause-query hold a run back as long as they say, and it says why", async () => {
  await sql("CREATE TABLE pauses (why VARCHAR(100))");
  const file = join(directory, "pause");
  const hook = await pauseFor({ pauseFile: file, pauseQuery: "SELECT why FROM pauses" }, servers);
  const latest: { ended: number; held?: string | undefined } = { ended: 0 };
  let isEnough = false;
  async function* queries() {
    while (!isEnough) {
      yield "DO 1";
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
  const progress = { ...silent, update: (snapshot: typeof latest) => void Object.assign(latest, snapshot) };
  const summary = doWork(queries(), 2, { ...hook.options, progress });
  const isHeld = async (reason: string) => {
    await poll(() => latest.held === reason);
    const { ended } = latest;
    await sql("DO SLEEP(0.2)");
    assert.ok(latest.ended <= ended + 2, `${latest.ended - ended} have ended`);
  };
  const goesOn = async () => {
    const { ended } = latest;
    await poll(() => latest.held === undefined && latest.ended > ended + 20);
  };
  await goesOn();
  writeFileSync(file, "");
  await isHeld(`paused: ${file} is there`);
  rmSync(file);
  await goesOn();
  await sql("INSERT INTO pauses VALUES ('the backup runs')");
  await isHeld("paused: --pause-query gives the backup runs");
  for (const none of ["'0'", "NULL", "''"]) await sql(`UPDATE pauses SET why = ${none}`);
  await goesOn();
  await sql("DROP TABLE pauses");
  await poll(() => /^paused: --pause-query: Table .*pauses' doesn't exist$/.test(latest.held ?? ""));
  await sql("CREATE TABLE pauses (why INT)");
  await goesOn();
  isEnough = true;
  const { total, done } = await summary;
  hook.close?.();
  assert.equal(done, total);
});

test("--pause-file and --pause-query refuse what can never pause a run", async () => {
  for (const [args, message] of [
    [
      ["--pause-file", join(directory, "no", "pause")],
      /^myscript: Cannot use --pause-file ".*": no such file or directory$/m,
    ],
    [["--pause-file="], /^myscript: --pause-file must not be empty$/m],
    [
      ["--pause-file", join(directory, "f"), "--pause-query", "SELECT nope"],
      /^myscript: --pause-query: Unknown column 'nope'/m,
    ],
    [["--pause-query", "SELECT SLEEP(30)"], /^myscript: --pause-query: The server did not answer within 2 s$/m],
    [["--max-pause", "0"], /^myscript: --max-pause must be a number of seconds from 0\.001 to 2000000, not "0"$/m],
  ] as const) {
    const { status, stderr } = await runHere([...server, ...args, "-"], { input: "DO 1" });
    assert.match(stderr, message);
    assert.equal(status, 2);
  }
});

test("--max-pause ends a run whose pause is too long, and it can be resumed", async () => {
  await sql("CREATE TABLE m (id INT PRIMARY KEY)");
  const queries = [1, 2, 3, 4].map((n) => `INSERT INTO m VALUES (${n})`);
  const args = [...server, "--joblog", join(directory, "log"), "--max-pause", "0.3"];
  const ended = await runHere([...args, "--max-load", "Threads_connected=0"], { queries });
  assert.match(ended.stderr, /^ended early: paused for longer than 0\.3 s: Threads_connected is \d+, above 0/m);
  assert.match(ended.stderr, /^0 of 4 queries done, 4 skipped/m);
  assert.equal(ended.status, 1);
  const resumed = await runHere([...args, "--resume"], { queries });
  assert.equal(resumed.status, 0, resumed.stderr);
  assert.deepEqual(await sql("SELECT COUNT(*) AS n FROM m"), [{ n: 4 }]);
});

test("maxPauseSeconds is no limit for a rate, nor where nothing is left to hold back", async () => {
  const rate = await runHere([...server, "--rate", "2", "--max-pause", "0.1"], { queries: ["DO 1", "DO 2"] });
  assert.equal(rate.status, 0, rate.stderr);
  let isOpen = true;
  const gate = {
    limit: (ended: number) => (isOpen ? Number.POSITIVE_INFINITY : ended),
    get reason() {
      return isOpen ? undefined : "paused";
    },
  };
  const progress: Progress = {
    ...silent,
    update({ inFlight }) {
      if (inFlight().length === 1) isOpen = false;
    },
  };
  const options = { gates: [gate], maxPauseSeconds: 0.1, progress };
  const { done, reason } = await doWork(["SELECT SLEEP(0.5)"], 1, options);
  assert.deepEqual([done, reason], [1, undefined]);
});
