/** The password of every way of giving one is searched for in all that a run leaves and shows. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { runHere } from "./command.ts";
import { poll, run, start, viaTsx } from "./run.ts";
import { startServer, type TestServer } from "./server.ts";
import { inSoak } from "./soak.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript-password-"));
const right = `s3cr3t pass'word"#\\`;
const wrong = "wr0ng-s3cr3t";
let server: TestServer;
let at: string[];

before(async () => {
  server = await startServer();
  await server.root.query("CREATE USER app IDENTIFIED BY ?", [right]);
  await server.root.query("GRANT ALL ON myscript.* TO app");
  at = ["-h", "127.0.0.1", "-P", `${server.port}`, "-u", "app", "-D", "myscript", "--get-server-public-key"];
});

after(async () => {
  await server?.stop();
  rmSync(directory, { recursive: true });
});

const ways: Record<string, (password: string) => { args?: string[]; env?: NodeJS.ProcessEnv }> = {
  MYSQL_PWD: (password) => ({ env: { MYSQL_PWD: password } }),
  "--defaults-file": (password) => ({ args: ["--defaults-file", optionFile(join(directory, "my.cnf"), password)] }),
  "~/.my.cnf": (password) => {
    const home = mkdtempSync(join(directory, "home-"));
    optionFile(join(home, ".my.cnf"), password);
    return { env: { HOME: home } };
  },
};

for (const [way, give] of Object.entries(ways)) {
  test(`a password in ${way} is shown nowhere`, { skip: way !== "MYSQL_PWD" && inSoak }, async () => {
    const { args = [], env } = give(right);
    const temporary = mkdtempSync(join(directory, "tmp-"));
    // Failures of all kinds, rows, and a query that waits for a lock that the test has.
    const input = `SELECT USER() AS u; SELECT no; KILL CONNECTION_ID(); SELECT CURRENT_USER(), 1 FROM nowhere;
      DO GET_LOCK('gate', 3600) + RELEASE_LOCK('gate'); SELECT 'last' AS u`;
    await server.root.query("DO GET_LOCK('gate', 0)");
    const log = join(temporary, "job.log");
    const running = start([...args, ...at, "-j1", "--rows", "--json", "--joblog", log, "-"], {
      command: viaTsx,
      env: { ...env, TMPDIR: temporary },
      input,
      patienceSeconds: 30,
    });
    try {
      await poll(async () => {
        const [rows] = await server.root.query(
          "SELECT 1 FROM information_schema.processlist WHERE state = 'User lock'",
        );
        return (rows as unknown[]).length === 1;
      });
      const commandLines = processesOf(running.child.pid!);
      const scripts = commandLines.filter(({ commandLine }) => commandLine.includes("myscript.ts"));
      assert.equal(scripts.length, 2, "tsx, and the node that it starts");
      process.kill(scripts[1]!.pid, "SIGUSR2");
      await running.until("stderr", /^worker 1, /m);
      assertAbsent(commandLines.map(({ commandLine }) => commandLine).join("\n"));
      assertAbsent(allFiles(temporary));
    } finally {
      await server.root.query("DO RELEASE_LOCK('gate')");
    }
    const { status, stdout, stderr } = await running.ended;
    assert.match(stderr, /^3 of 6 queries done, 2 failed, 1 unknown/m);
    assert.match(stdout, /^{"seq":1,"row":{"u":"app@[^"]+"}}$/m);
    assert.match(allFiles(temporary), /KILL|unknown/, "the job log is among the files");
    assertAbsent(stdout, stderr, allFiles(temporary));
    assert.equal(status, 3);
  });

  test(`a wrong password in ${way} is shown nowhere`, { skip: way !== "MYSQL_PWD" && inSoak }, async () => {
    const { args = [], env = {} } = give(wrong);
    const temporary = mkdtempSync(join(directory, "tmp-"));
    const options = { command: viaTsx, env: { ...env, TMPDIR: temporary }, input: "DO 1" };
    const { status, stdout, stderr } = await run([...args, ...at, "--rows", "--json", "-"], options);
    assert.match(
      stderr,
      /^myscript: Cannot connect to app@127\.0\.0\.1:\d+\/myscript: Access denied for user 'app'@.* \(using password: YES\)\n$/,
    );
    assertAbsent(stdout, stderr, allFiles(temporary));
    assert.equal(status, 2);
  });
}

test("a password in --url is refused, and shown nowhere", async () => {
  for (const password of [encodeURIComponent(right), wrong, `${wrong}@x`]) {
    const url = `mysql://app:${password}@127.0.0.1:${server.port}/myscript`;
    const { status, stdout, stderr } = await runHere(["--url", url, "-"], { input: "DO 1" });
    assert.match(stderr, /^myscript: (?:--url must not hold a password|Cannot read --url: ).*\n$/);
    assertAbsent(stdout, stderr);
    assert.equal(status, 2);
  }
});

test("a password as an option is refused, and shown nowhere", async () => {
  for (const args of [[`-p${wrong}`], [`--password=${wrong}`], ["--password", wrong], ["--pasword", wrong]]) {
    const { status, stdout, stderr } = await runHere([...at, ...args], { input: "DO 1" });
    assert.match(
      stderr,
      /^myscript: Unknown option .*: a password goes into MYSQL_PWD or an option file, where ps does not show it\n$/,
    );
    assertAbsent(stdout, stderr);
    assert.equal(status, 2);
  }
});

test("a password in the place of a file, a user or a port is refused, and shown nowhere", async () => {
  const url = `mysql://app:${wrong}@127.0.0.1:${server.port}/myscript`;
  for (const args of [[url], [url.slice(8)], ["-u", `app:${wrong}`, "-"], ["-P", wrong, "-"], ["-S", url, "-"]]) {
    const { status, stdout, stderr } = await runHere(["-h", "127.0.0.1", ...args], { input: "DO 1" });
    assert.match(stderr, /^myscript: .* password.*\n$/);
    assertAbsent(stdout, stderr);
    assert.equal(status, 2);
  }
});

function optionFile(path: string, password: string): string {
  const quoted = password.replaceAll("\\", "\\\\").replaceAll('"', '\\"');
  writeFileSync(path, `[client]\npassword="${quoted}"\n`);
  return path;
}

function assertAbsent(...texts: string[]): void {
  for (const text of texts) assert.doesNotMatch(text, /s3cr3t|wr0ng/);
}

/** The processes of a process group, the youngest last. */
function processesOf(group: number): { pid: number; commandLine: string }[] {
  const pids = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
  return pids.flatMap((pid) => {
    try {
      const [, , groupOf] = readFileSync(`/proc/${pid}/stat`, "utf8")
        .replace(/^.*\) /s, "")
        .split(" ");
      if (Number(groupOf) !== group) return [];
      return [{ pid, commandLine: readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ") }];
    } catch {
      return []; // it has ended
    }
  });
}

/** What stands in all files of a directory, and their names. */
function allFiles(path: string): string {
  const found = readdirSync(path, { recursive: true, encoding: "utf8" }).map((name) => join(path, name));
  return found.map((file) => `${file}\n${statSync(file).isFile() ? readFileSync(file, "latin1") : ""}`).join("\n");
}
