/** Ctrl-C and other signals. The printed outcomes must agree with the table. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import mysql from "mysql2/promise";
import { startSandbox } from "../lib/features/sandbox/sandbox.ts";
import { type Ended, poll, type Running, type RunOptions, start, viaNode, viaTsx } from "./run.ts";
import { inSoak } from "./soak.ts";
import { isWriting, numbers } from "./target.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript-signals-"));
const sandbox = await startSandbox({ orders: 0 });
const connection = await mysql.createConnection({ ...sandbox.db, multipleStatements: true });
after(async () => {
  connection.destroy();
  await sandbox.stop();
  rmSync(directory, { recursive: true });
});

const server = ["-S", sandbox.db.socketPath, "-u", "root", "-D", "myscript"];
const rows = 1000;
// Half-way, every worker waits for the test's lock.
const gate = "DO GET_LOCK('gate', 3600) + RELEASE_LOCK('gate');\n";
const updates = (from: number) =>
  Array.from({ length: rows / 2 }, (_, id) => `UPDATE counted SET v = v + 1 WHERE id = ${from + id};\n`).join("");
const halves = join(directory, "halves.sql");
writeFileSync(halves, updates(1) + gate.repeat(4) + updates(1 + rows / 2));
// Not SLEEP(), because MariaDB's KILL QUERY may take 2 s while several queries sleep.
const stuck = join(directory, "stuck.sql");
writeFileSync(stuck, "SELECT * FROM locked;\n".repeat(10));

for (const [name, command] of [
  ["node", viaNode],
  ["tsx", viaTsx],
] as const) {
  const title = `SIGINT to ${name} lets what is in flight end, and the summary says what the table says`;
  test(title, { skip: command !== viaTsx && inSoak }, async () => {
    await answering(command, () => interruptHalfWay("SIGINT", 130, command));
  });
}

test("SIGTERM and SIGHUP do the same as SIGINT", { skip: inSoak }, async () => {
  await interruptHalfWay("SIGTERM", 143, viaNode);
  await interruptHalfWay("SIGHUP", 129, viaNode);
});

async function interruptHalfWay(signal: NodeJS.Signals, exitStatus: number, command: readonly string[]) {
  await atTheGate({ command }, async (running, release) => {
    running.child.kill(signal);
    await running.until(
      "stderr",
      new RegExp(`^${signal}: waiting for what is in flight; once more interrupts it$`, "m"),
    );
    await release();
    const { status, stdout, stderr } = await running.ended;
    const { total, done, failed, unknown, skipped } = JSON.parse(stdout);
    assert.deepEqual([done, failed, unknown], [rows / 2 + 4, 0, 0]);
    assert.equal(total, done + skipped);
    assert.deepEqual(await counted(), { ones: rows / 2, most: 1 });
    assert.match(stderr, /^504 of [\d,]+ queries done, [\d,]+ skipped/m);
    assert.equal(status, exitStatus);
  });
}

test("SIGUSR2 prints the query of each worker, and disturbs nothing, even if stderr is closed", async () => {
  await atTheGate({}, async (running, release) => {
    for (const time of [1, 2]) {
      running.child.kill("SIGUSR2");
      await running.until("stderr", new RegExp(`(^worker [^]*){${4 * time}}`, "m"));
    }
    const { child, printed } = running;
    const lines = printed.stderr.split("\n").filter((line) => line.startsWith("worker"));
    child.stderr.destroy();
    child.kill("SIGUSR2"); // the report goes to the closed stderr
    child.kill("SIGUSR2");
    await release();
    const { status, stdout } = await running.ended;
    const pattern =
      /^worker ([1-4]), thread (\d): query (\d+), [\d.]+ s: DO GET_LOCK\('gate', 3600\) \+ RELEASE_LOCK\('gate'\)$/;
    const found = lines.map((line) => pattern.exec(line)?.slice(1, 4).map(Number) ?? [line]);
    assert.equal(lines.length, 8);
    assert.deepEqual(new Set(found.map(([worker]) => worker)), new Set([1, 2, 3, 4]));
    assert.deepEqual(new Set(found.map(([, , seq]) => seq)), new Set([501, 502, 503, 504]));
    assert.equal(JSON.parse(stdout).done, rows + 4);
    assert.deepEqual(await counted(), { ones: rows, most: 1 });
    assert.equal(status, 0);
  });
});

test("two SIGINTs interrupt the queries in flight on the server, and end the run", async () => {
  await whenStuck({}, async (running) => {
    running.child.kill("SIGINT");
    await running.until("stderr", /waiting for what is in flight/);
    assert.equal(await waiting(), 4, "the first one interrupts nothing");
    const { status, stdout } = await again(running, () => running.child.kill("SIGINT"));
    const { total, failed, skipped, failures } = JSON.parse(stdout);
    assert.deepEqual([total, failed, skipped, failures[0].code], [10, 4, 6, "ER_QUERY_INTERRUPTED"]);
    assert.equal(status, 130);
    await poll(async () => (await waiting()) === 0);
  });
});

test("two SIGINTs end the run even if the server does not answer any more", async () => {
  await whenStuck({ patienceSeconds: 30 }, async (running) => {
    process.kill(sandbox.pid, "SIGSTOP");
    try {
      running.child.kill("SIGINT");
      await running.until("stderr", /waiting for what is in flight/);
      const { status, stdout } = await again(running, () => running.child.kill("SIGINT"));
      const { total, done, failed, unknown, skipped } = JSON.parse(stdout);
      assert.deepEqual([total, done, failed, unknown, skipped], [10, 0, 0, 4, 6]);
      assert.equal(status, 130);
    } finally {
      process.kill(sandbox.pid, "SIGCONT");
    }
  });
});

test("SIGINT ends a run whose input does not end", async () => {
  const running = start([...server, "-j", "3", "--json", "-"], { input: null });
  try {
    running.child.stdin.write("DO 1;\n");
    await poll(async () => (await query("SHOW STATUS LIKE 'Threads_connected'"))[0]!.Value === "4");
    running.child.kill("SIGINT");
    const { status, stdout } = await running.ended;
    assert.equal(JSON.parse(stdout).total, 1);
    assert.equal(status, 130);
  } finally {
    running.child.kill("SIGKILL");
  }
});

test("two SIGINTs end a run whose rows nobody reads", async () => {
  const input = `SELECT seq, REPEAT('x', 100) FROM ${numbers(10_000_000)}`;
  const running = start([...server, "--rows", "-"], { input, unread: true });
  const states =
    "SELECT state FROM information_schema.processlist WHERE info LIKE '%seq_1_to_1%' AND id <> CONNECTION_ID()";
  try {
    await poll(async () => isWriting.test(String((await query(states))[0]?.state)));
    running.child.kill("SIGINT");
    await running.until("stderr", /waiting for what is in flight/);
    running.child.once("exit", () => running.child.stdout.destroy()); // otherwise "close" would wait for a reader
    const { status, stderr } = await again(running, () => running.child.kill("SIGINT"));
    assert.match(stderr, /^0 of 1 queries done, 1 (?:failed|unknown)/m);
    assert.equal(status, 130);
    await poll(async () => (await query(states)).length === 0);
  } finally {
    running.child.kill("SIGKILL");
  }
});

const onTerminal = (file: string, command: readonly string[] = viaNode): [string[], RunOptions] => [
  [[...command, ...server, "-j4", file].join(" "), "/dev/null"],
  { command: ["script", "-qec"], input: null },
];
const skip = process.platform !== "linux" && "no script -c";

for (const [name, command] of [
  ["tsx", viaTsx],
  ["npm start", ["npm", "start", "--silent", "--"]],
] as const) {
  test(`Ctrl-C on the terminal of ${name} lets the queries in flight end`, {
    skip: skip || (command !== viaTsx && inSoak),
  }, async () => {
    const begin = () => start(...onTerminal(halves, command));
    const interrupt = async (running: Running, release: () => Promise<unknown>) => {
      running.child.stdin.write("\x03");
      await running.until("stdout", /SIGINT: waiting for what is in flight/);
      await release();
      const { status, stdout } = await running.ended;
      assert.match(stdout, /\n504 of [\d,]+ queries done, [\d,]+ skipped/);
      assert.doesNotMatch(stdout, /failed/);
      assert.equal(stdout.match(/SIGINT:/g)?.length, 1);
      assert.deepEqual(await counted(), { ones: rows / 2, most: 1 });
      assert.equal(status, 130);
    };
    await answering(command, () => atTheGate({}, interrupt, begin));
  });
}

test("Ctrl-C twice on a terminal interrupts the queries in flight", { skip }, async () => {
  await whenStuck(
    {},
    async (running) => {
      running.child.stdin.write("\x03");
      await running.until("stdout", /SIGINT: waiting for what is in flight/);
      const { status, stdout } = await again(running, () => running.child.stdin.write("\x03"));
      assert.match(stdout, /\n0 of 10 queries done, 4 failed, 6 skipped/);
      assert.equal(status, 130);
      await poll(async () => (await waiting()) === 0);
    },
    () => start(...onTerminal(stuck)),
  );
});

/**
 * Repeats a test up to twice if tsx has killed the script. tsx sends SIGKILL to a script that does not answer a signal within 60 ms.
 * On a busy machine, the script may not get a processor in that time, and dies before it has printed anything about the signal.
 */
async function answering(command: readonly string[], attempt: () => Promise<void>): Promise<void> {
  for (let tries = 1; command === viaTsx && tries < 3; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!/was never printed: (?!.*(?:SIGINT|queries done|myscript:))/s.test((error as Error).message)) throw error;
    }
  }
  return attempt();
}

/** Interrupts until the run ends, because a SIGINT right after the first one counts as the same. */
async function again(running: Running, interrupt: () => void): Promise<Ended> {
  const timer = setInterval(interrupt, 250);
  try {
    const printed = () => running.printed.stdout + running.printed.stderr;
    await poll(() => printed().includes("SIGINT: interrupting what is in flight"));
  } finally {
    clearInterval(timer);
  }
  return running.ended;
}

/** Runs `halves`. Calls `then` when the first half is done and every worker waits for the lock. `release` lets them go on. */
async function atTheGate(
  options: RunOptions,
  then: (running: Running, release: () => Promise<unknown>) => Promise<void>,
  begin = () => start([...server, "-j", "4", "--json", halves], options),
): Promise<void> {
  await query("DROP TABLE IF EXISTS counted; CREATE TABLE counted (id INT PRIMARY KEY, v INT NOT NULL)");
  await query(`INSERT INTO counted SELECT seq, 0 FROM ${numbers(rows)}`);
  await query("DO GET_LOCK('gate', 0)");
  await watching(begin(), (running) => then(running, () => query("DO RELEASE_LOCK('gate')")));
}

/** Runs `stuck`, whose queries wait for the test's lock. Calls `then` when every worker waits. */
async function whenStuck(
  options: RunOptions,
  then: (running: Running) => Promise<void>,
  begin = () => start([...server, "-j", "4", "--json", stuck], options),
): Promise<void> {
  await query("DROP TABLE IF EXISTS locked; CREATE TABLE locked (id INT)");
  await query("LOCK TABLES locked WRITE");
  await watching(begin(), then);
}

async function watching(running: Running, then: (running: Running) => Promise<void>): Promise<void> {
  try {
    await poll(async () => (await waiting()) === 4);
    await then(running);
  } finally {
    running.child.kill("SIGKILL");
    await query("UNLOCK TABLES");
    await query("DO RELEASE_ALL_LOCKS()");
  }
}

async function waiting(): Promise<number> {
  const states = "'User lock', 'Waiting for table metadata lock'";
  return (await query(`SELECT 1 FROM information_schema.processlist WHERE state IN (${states})`)).length;
}

async function counted() {
  const [row] = await query("SELECT SUM(v = 1) AS ones, MAX(v) AS most FROM counted");
  return { ones: Number(row!.ones), most: row!.most };
}

async function query(sql: string): Promise<Record<string, unknown>[]> {
  return (await connection.query(sql))[0] as never;
}
