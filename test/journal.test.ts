import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import fc from "fast-check";
import { UsageError } from "../lib/command/errors.ts";
import type { Journal } from "../lib/features/joblog/journal.ts";
import { openJournal } from "../lib/features/joblog/open-journal.ts";
import type { Ended } from "../lib/shared/counters.ts";
import { hashOf, sameInput } from "../lib/shared/hash.ts";
import type { Outcome } from "../lib/shared/segment.ts";
import { noLimits, withFilesUpTo } from "./full-disk.ts";
import { scaled } from "./soak.ts";

const directory = await mkdtemp(join(tmpdir(), "myscript-journal-"));
const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill("SIGKILL"); // processes of a failed test
  return rm(directory, { recursive: true });
});

const oldHeader = "seq\thash\toutcome\tstart\tseconds\ttries\trows\tcode\tmessage\tquery\n";
const header = oldHeader.replace("\n", "\tkey\n");
const journalUrl = new URL("../lib/features/joblog/open-journal.ts", import.meta.url).href;
const anew = { resume: false, retryFailed: false, retryUnknown: false };
const resume = { ...anew, resume: true };
let files = 0;

test("openJournal() starts a log of released and ended queries", async () => {
  const path = newPath();
  const journal = await openJournal(path, anew);
  const queries = [{ sql: "DO\t1", at: "a.sql:1" }, "DO 2", "DO 3", "DO 4"];
  for (const [index, query] of queries.entries()) assert.equal(journal.earlier(index + 1, query), undefined);
  await journal.releaseTo(3);
  const released = queries
    .slice(0, 3)
    .map((query, index) => `${index + 1}\t${hashOf(query)}\treleased${"\t".repeat(8)}\n`);
  assert.equal(await readFile(path, "utf8"), header + released.join(""));
  journal.ended({ ...ended(2, "done"), start: Date.UTC(2026, 0, 2), durationMs: 1234.5, tries: 2, rows: 7 }, "DO 2");
  journal.ended(ended(1, "failed"), { sql: "DO\t1", at: "a.sql:1" });
  await journal.close();
  const [, , , , second, first, end] = (await readFile(path, "utf8")).split("\n");
  assert.equal(second, `2\t${hashOf("DO 2")}\tdone\t2026-01-02T00:00:00.000Z\t1.234500\t2\t7\t\t\tDO 2\t`);
  assert.equal(first, `1\t${hashOf("DO\t1")}\tfailed\t1970-01-01T00:00:00.000Z\t0.001000\t1\t0\tER_X\tNo\tDO 1\t`);
  assert.equal(end, "");
});

/** Writes the log of a killed run: queries 1 to 4 were done, failed, unknown, and released, and query 5 was skipped. */
async function killedRun(path: string, unitOf = (seq: number): unknown => `DO ${seq}`): Promise<void> {
  const journal = await openJournal(path, anew);
  for (let seq = 1; seq <= 5; seq++) journal.earlier(seq, unitOf(seq));
  await journal.releaseTo(5);
  for (const [seq, outcome] of [
    [1, "done"],
    [2, "failed"],
    [3, "unknown"],
    [5, "skipped"],
  ] as const)
    journal.ended(ended(seq, outcome), unitOf(seq));
  await journal.close();
}

test("Journal.earlier() accepts a corrected query if it was failed or skipped, and no other", async () => {
  const path = newPath();
  await killedRun(path);
  const outcomes = [["done"], ["failed", undefined], ["unknown", undefined], ["unknown", undefined], [undefined]];
  for (const retry of [false, true]) {
    const log = await readFile(path);
    const copy = newPath();
    await writeFile(copy, log);
    const journal = await openJournal(copy, { resume: true, retryFailed: retry, retryUnknown: retry });
    assert.equal(journal.knownTo.seq, 4);
    for (const [index, expected] of outcomes.entries()) {
      const seq = index + 1;
      const mayChange = seq === 2 || seq === 5;
      const other = () => journal.earlier(seq, "DO something else");
      if (mayChange) assert.equal(other(), expected.at(retry ? -1 : 0), `query ${seq}`);
      else assert.throws(other, isUsage(`Cannot resume ${copy}: query ${seq} is not the one in the log: ${sameInput}`));
      if (!mayChange) assert.equal(journal.earlier(seq, `DO ${seq}`), expected.at(retry ? -1 : 0), `query ${seq}`);
    }
    await journal.close();
  }
});

test("Journal.earlier() finds queries with keys by their keys, in any place", async () => {
  const path = newPath();
  const named = (seq: number) => ({ sql: `DO ${seq}`, key: `k${seq} ä€` });
  await killedRun(path, named);
  const journal = await openJournal(path, resume);
  assert.equal(journal.knownTo.seq, 0);
  const found = [6, 4, 5, 2, 1].map((which, index) => journal.earlier(index + 1, named(which)));
  assert.deepEqual(found, [undefined, "unknown", undefined, "failed", "done"]);
  const changed = { ...named(3), sql: "DO 0" };
  assert.throws(
    () => journal.earlier(6, changed),
    /query 6, k3 ä€ is not the one in the log: .* another text another key/,
  );
  assert.throws(
    () => journal.earlier(6, "DO 6"),
    /query 6 has no key, and those in the log have keys: begin a new log/,
  );
  await journal.close();
  const old = newPath();
  await killedRun(old);
  const without: Journal = await openJournal(old, resume);
  assert.throws(() => without.earlier(1, named(1)), /query 1, k1 ä€ has a key, and those in the log have none/);
  await without.close();
});

test("Journal.ended() writes to the disk without another call", async () => {
  const path = newPath();
  const journal = await openJournal(path, anew);
  await journal.releaseTo(1);
  const before = (await stat(path)).size;
  journal.ended(ended(1, "done"), "DO 1");
  while ((await stat(path)).size === before) await new Promise((resolve) => setTimeout(resolve, 5));
  await journal.close();
});

for (const [name, lines, expected] of [
  ["done", ["done"], ["done", "done", "done"]],
  ["failed", ["failed"], ["failed", undefined, "failed"]],
  ["unknown", ["unknown"], ["unknown", "unknown", undefined]],
  ["released, and no more", [], ["unknown", "unknown", undefined]],
  ["skipped", ["skipped"], [undefined, undefined, undefined]],
  ["reopened after it failed", ["failed", "reopened"], ["unknown", "unknown", undefined]],
  ["reopened and failed again", ["failed", "reopened", "failed"], ["failed", undefined, "failed"]],
  ["reopened and done", ["failed", "reopened", "done"], ["done", "done", "done"]],
  ["reopened and skipped, so still failed", ["failed", "reopened", "skipped"], ["failed", undefined, "failed"]],
  ["reopened after it was skipped", ["skipped", "reopened"], ["unknown", "unknown", undefined]],
  ["reopened and skipped again", ["skipped", "reopened", "skipped"], [undefined, undefined, undefined]],
] as const) {
  test(`Journal.earlier() of a query that was ${name}, in an older log`, async () => {
    const log = oldHeader + line(3, "released", "") + lines.map((outcome) => line(2, outcome)).join("");
    for (const [index, retry] of [{}, { retryFailed: true }, { retryUnknown: true }].entries()) {
      const path = newPath();
      await writeFile(path, log);
      const journal = await openJournal(path, { ...resume, ...retry });
      assert.equal(journal.earlier(2, "DO 2"), expected[index], JSON.stringify(retry));
      assert.equal(journal.earlier(4, "DO 4"), undefined, "beyond what was released");
      await journal.close();
    }
  });
}

test("Journal.earlier() is unknown for a failed query that a killed run had released again", async () => {
  const path = newPath();
  const first = await openJournal(path, anew);
  await first.releaseTo(2);
  first.ended(ended(1, "failed"), "DO 1");
  first.ended(ended(2, "failed"), "DO 2");
  await first.close();

  const second = await openJournal(path, { ...resume, retryFailed: true });
  assert.equal(second.earlier(1, "DO 1"), undefined);
  assert.equal(second.earlier(2, "DO 2"), undefined);
  await second.releaseTo(1);
  await second.close(); // the log is as after a kill: it has no end of query 1

  const third = await openJournal(path, resume);
  assert.equal(third.earlier(1, "DO 1"), "unknown");
  assert.equal(third.earlier(2, "DO 2"), "failed", "it was not released again");
  await third.close();
  assert.match(await readFile(path, "utf8"), /\n1\t\w{16}\tunknown\t.*RUN_DIED\t.*\tDO 1\t\n$/, "and the log says so");
});

test("Journal.earlier() is exact after runs that end well, and never wrong after killed runs", async () => {
  const count = 12;
  const run = fc.record({
    retryFailed: fc.boolean(),
    retryUnknown: fc.boolean(),
    releases: fc.array(fc.nat(count), { maxLength: 4 }),
    ends: fc.array(fc.constantFrom("done", "failed", "unknown", "running", "waiting"), {
      minLength: count,
      maxLength: count,
    }),
    cut: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(run, { minLength: 2, maxLength: 6 }), async (runs) => {
      let path = newPath();
      /** The true outcomes of each query. There are several if the lost end of the log would decide. */
      let truths = Array.from({ length: count + 1 }, () => new Set<Outcome | undefined>([undefined]));
      for (const { retryFailed, retryUnknown, releases, ends, cut } of runs) {
        const journal = await openJournal(path, { resume: true, retryFailed, retryUnknown });
        const next = truths.map((truth) => new Set(truth));
        const queue: number[] = [];
        for (let seq = 1; seq <= count; seq++) {
          const outcome = journal.earlier(seq, `DO ${seq}`);
          const [truth] = truths[seq]!;
          const again = (truth === "failed" && retryFailed) || (truth === "unknown" && retryUnknown);
          if (truths[seq]!.size === 1) assert.equal(outcome, again ? undefined : truth, `query ${seq}`);
          else if (outcome !== "unknown" && !retryUnknown) {
            const last = outcome ?? (retryFailed && truths[seq]!.has("failed") ? "failed" : undefined);
            assert.ok(truths[seq]!.has(last), `query ${seq} is ${outcome}, not ${[...truths[seq]!]}`);
          }
          if (outcome === undefined) queue.push(seq);
          else next[seq] = new Set([outcome]);
        }
        let claimable = 0;
        let synced = (await stat(path)).size;
        for (const release of releases) {
          await journal.releaseTo(release);
          synced = (await stat(path)).size;
          claimable = Math.max(claimable, release);
          for (const seq of queue.filter((seq) => seq <= claimable)) {
            const end = ends[seq - 1]!;
            if (end === "waiting") continue;
            queue.splice(queue.indexOf(seq), 1);
            // Without an end in the log, only "unknown" is right. A power cut may also lose the end from the log.
            if (end === "running") next[seq] = new Set(["unknown"]);
            else {
              journal.ended(ended(seq, end as Outcome), `DO ${seq}`);
              next[seq] = new Set(cut === null ? [end as Outcome] : [end as Outcome, "unknown"]);
            }
          }
        }
        if (cut === null) for (const seq of queue) journal.ended(ended(seq, "skipped"), `DO ${seq}`);
        // A released query that was not claimed before the kill is unknown, because the log does not show claims.
        else for (const seq of queue) next[seq] = new Set([...next[seq]!, "unknown"]);
        if (cut !== null) void journal.releaseTo(count); // not awaited, so no query is claimed
        await journal.close();
        const log = await readFile(path);
        path = newPath();
        await writeFile(path, log.subarray(0, cut === null ? log.length : synced + cut * (log.length - synced)));
        truths = next;
      }
    }),
    { numRuns: scaled(150, 30) },
  );
});

test("openJournal() reads a log up to its cut-off end, and appends there", async () => {
  const whole = `${oldHeader}${line(2, "released", "")}${line(1, "done")}${line(2, "failed")}`;
  const ends = [...whole.matchAll(/\n/g)].map(({ index }) => index + 1);
  const lengths = Array.from({ length: whole.length + 1 }, (_, length) => length);
  const isNearEnd = (length: number) => ends.some((end) => Math.abs(end - length) <= 1);
  for (const length of lengths.filter((length) => length % scaled(1, 8) === 0 || isNearEnd(length))) {
    const path = newPath();
    await writeFile(path, whole.slice(0, length));
    const journal = await openJournal(path, resume);
    const lines = ends.filter((end) => end <= length).length;
    const expected = [[], [], ["unknown", "unknown"], ["done", "unknown"], ["done", "failed"]][lines]!;
    assert.deepEqual([journal.earlier(1, "DO 1"), journal.earlier(2, "DO 2")], [expected[0], expected[1]], `${length}`);
    journal.earlier(3, "DO 3");
    await journal.releaseTo(3);
    await journal.close();
    const kept = lines > 0 ? whole.slice(0, ends[lines - 1]) : header;
    const log = await readFile(path, "utf8");
    assert.equal(log.slice(0, kept.length), kept);
    assert.match(log.slice(kept.length), /^([12]\t\w{16}\t(unknown|released)\t.*\n)*3\t\w{16}\treleased\t.*\n$/);
  }
});

test("Journal.open() returns the checkpoints of a name from earlier runs, and writes them before the release of their queries", async () => {
  const path = newPath();
  const notes = [["a\tä\n\u2028", ["😀"]], [1, null], "x".repeat(1 << 20)];
  for (const options of [anew, resume, resume]) {
    const journal = await openJournal(path, options);
    const [next, nextOther] = [journal.open("t.1"), journal.open("t.2")];
    for (const note of notes) {
      assert.deepEqual(await next(async () => (options === anew ? note : "new")), note);
      assert.equal(await nextOther(async () => (options === anew ? "another's" : "new")), "another's");
    }
    assert.equal(await next(async () => undefined), undefined);
    assert.equal(journal.isBegun, options !== anew);
    if (options === anew) {
      journal.earlier(1, "DO 1");
      await journal.releaseTo(1);
      assert.match(await readFile(path, "utf8"), /^seq\t[^\n]*\n(#note\t[ -~]*\n){6}1\t\w+\treleased\t[^\n]*\n$/);
    }
    await journal.close();
  }
  await writeFile(path, `${await readFile(path, "utf8")}#note\t["t.1","cut`);
  const journal = await openJournal(path, resume);
  const next = journal.open("t.1");
  for (const note of [...notes, "whole"]) assert.deepEqual(await next(async () => "whole"), note);
  await journal.close();
  assert.match(await readFile(path, "utf8"), /\n#note\t\["t.1","whole"\]\n$/);
});

test("Journal.earlier() refuses the first query that differs from the log", async () => {
  const path = newPath();
  await writeFile(path, oldHeader + line(3, "released", "") + line(1, "done") + line(3, "done"));
  const journal = await openJournal(path, resume);
  assert.equal(journal.earlier(1, { sql: "DO 1", at: "renamed.sql:1" }), "done");
  assert.equal(journal.earlier(2, "whatever"), "unknown", "the log cannot know which query it was");
  assert.throws(
    () => journal.earlier(3, "DO 4"),
    isUsage(`Cannot resume ${path}: query 3 is not the one in the log: ${sameInput}`),
  );
  await journal.close();
});

test("openJournal() refuses the log of another shard", async () => {
  for (const [was, is, message] of [
    ["1/3", "2/3", "it was written with --shard 1/3"],
    ["1/3", undefined, "it was written with --shard 1/3"],
    [undefined, "1/3", "it was written without --shard"],
    ["1/3", "1/3", undefined],
  ]) {
    const path = newPath();
    const journal = await openJournal(path, { ...anew, ...(was && { shard: was }) });
    journal.earlier(1, "DO 1");
    await journal.releaseTo(1);
    await journal.close();
    const again = openJournal(path, { ...resume, ...(is && { shard: is }) });
    if (message) await assert.rejects(again, isUsage(`Cannot resume ${path}: ${message}`));
    else await (await again).close();
  }
});

test("openJournal() refuses an existing log without resume, and a file that is no job log, and changes neither", async () => {
  for (const [content, options, message] of [
    [header, anew, "Job log FILE exists: give --resume to go on with it, or remove it"],
    ["SELECT 1;\n", resume, "Cannot use FILE: it is not a job log"],
    ["x".repeat(3 << 20), resume, "Cannot use FILE: it is not a job log"],
    [`${header}${line(1, "released", "")}hello\n`, resume, "Cannot use FILE: line 3 is not one of a job log"],
    [`${header}${line(1, "done", "")}`, resume, "Cannot use FILE: line 2 is not one of a job log"],
  ] as const) {
    const path = newPath();
    await writeFile(path, content);
    await assert.rejects(openJournal(path, options), isUsage(message.replace("FILE", path)));
    assert.equal(await readFile(path, "utf8"), content);
  }
  await assert.rejects(openJournal("/dev/null", anew), isUsage("Cannot use /dev/null: it is not a file"));
  const path = join(directory, "none", "log");
  await assert.rejects(openJournal(path, anew), isUsage(`Cannot use ${path}: no such file or directory`));
});

test("openJournal() refuses a log that another run uses, also by another path, until that run ends or is killed", async () => {
  const path = newPath();
  const link = newPath();
  await symlink(path, link);
  const child = spawnScript(`
    const journal = await openJournal(${JSON.stringify(path)}, ${JSON.stringify(anew)});
    journal.earlier(1, "DO 1");
    await journal.releaseTo(1);
    console.log("open");
    process.stdin.resume();`);
  await once(createInterface(child.stdout), "line");
  for (const name of [path, link]) {
    for (const options of [anew, resume]) {
      await assert.rejects(openJournal(name, options), isUsage(`Cannot use ${name}: another run is using it`));
    }
  }
  child.kill("SIGKILL");
  await once(child, "exit");
  const journal = await openJournal(link, resume);
  assert.equal(journal.earlier(1, "DO 1"), "unknown");
  await assert.rejects(openJournal(path, resume), isUsage(`Cannot use ${path}: another run is using it`));
  await journal.close();
  await (await openJournal(path, resume)).close();
});

test("openJournal() names the missing program if there is no flock", {
  skip: process.platform === "darwin",
}, async () => {
  const path = newPath();
  const { PATH } = process.env;
  process.env.PATH = directory;
  try {
    await assert.rejects(openJournal(path, anew), /^Error: Cannot use .*: the program flock .* is not on the PATH/);
  } finally {
    process.env.PATH = PATH;
  }
});

test("Journal.releaseTo() rejects from the moment the disk is full, and the log can be resumed", {
  skip: noLimits,
}, async () => {
  const path = newPath();
  const messages: string[] = [];
  await withFilesUpTo(8192, async () => {
    const full = await openJournal(path, anew);
    for (let seq = 1; messages.length < 2; seq++) {
      full.earlier(seq + 1, `DO ${seq + 1}`);
      full.ended(ended(seq, "done"), `DO ${seq}`);
      await full.releaseTo(seq + 1).catch((error) => messages.push(error.message));
    }
    await full.close();
  });
  assert.deepEqual(messages, Array(2).fill(`Cannot write ${path}: file too large`));
  const journal = await openJournal(path, resume);
  assert.equal(journal.earlier(1, "DO 1"), "done");
  await journal.close();
});

test("Journal.close() rejects if the end of the log cannot be written", { skip: noLimits }, async () => {
  const path = newPath();
  await withFilesUpTo(8192, async () => {
    const journal = await openJournal(path, anew);
    for (let seq = 1; seq < 1000; seq++) journal.ended(ended(seq, "done"), `DO ${seq}`);
    await assert.rejects(journal.close(), { message: `Cannot write ${path}: file too large` });
  });
});

test("openJournal() needs a few bytes of memory a query for a long log", async () => {
  const path = newPath();
  const lines = scaled(1_000_000, 100_000);
  const stream = createWriteStream(path);
  stream.write(header);
  for (let seq = 1; seq <= lines; seq += 1000) {
    const thousand = Array.from({ length: 1000 }, (_, index) =>
      line(seq + index, "done", hashOf("DO 1"), `${"x".repeat(100)}\t`),
    );
    if (!stream.write(thousand.join(""))) await once(stream, "drain");
  }
  await once(stream.end(), "close");
  const child = spawnScript(
    `async function used() {
      for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setTimeout(resolve, (gc(), 10)));
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    }
    const before = await used();
    const journal = await openJournal(${JSON.stringify(path)}, ${JSON.stringify(resume)});
    console.log(JSON.stringify({ bytes: (await used() - before) / ${lines}, last: journal.earlier(${lines}, "DO 1") }));
    await journal.close();`,
    "--expose-gc",
  );
  const [text] = await once(createInterface(child.stdout), "line");
  const { bytes, last } = JSON.parse(text);
  assert.equal(last, "done");
  assert.ok(bytes < 20, `${bytes} bytes a query`); // 9 bytes a query, and a share of a page and of a buffer
  await rm(path);
});

test("Journal.ended() escapes code, message and query as the mysql client does", async () => {
  const text = fc.string({ unit: fc.oneof(fc.constantFrom(..."\\\t\n\rnrt"), fc.string({ unit: "grapheme" })) });
  const entries = fc.array(fc.record({ code: text, message: text, query: text }), { minLength: 1, maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(entries, async (all) => {
      const path = newPath();
      const journal = await openJournal(path, anew);
      for (const [index, { query, ...failure }] of all.entries()) {
        journal.ended({ ...ended(index + 1, "failed"), failure: { sql: "", ...failure } }, query);
      }
      await journal.close();
      const fields = (await readFile(path, "utf8"))
        .split("\n")
        .map((row) => row.split("\t").slice(7).map(unescapeField));
      for (const [index, { code, message, query }] of all.entries()) {
        assert.deepEqual(fields[index + 1], [code, message, query.replace(/\s+/g, " ").trim(), ""]);
      }
      const again = await openJournal(path, resume);
      for (const [index, { query }] of all.entries()) assert.equal(again.earlier(index + 1, query), "failed");
      await again.close();
    }),
    { numRuns: scaled(50, 15) },
  );
});

function newPath(): string {
  return join(directory, `log-${++files}`);
}

function ended(seq: number, outcome: Outcome): Ended {
  const failure = outcome === "done" ? undefined : { sql: "", code: "ER_X", message: "No" };
  return { seq, outcome, tries: 1, start: 0, durationMs: 1, rows: 0, failure };
}

function line(seq: number, outcome: string, hash = hashOf(`DO ${seq}`), query = ""): string {
  return `${seq}\t${hash}\t${outcome}\t2026-01-01T00:00:00.000Z\t0.1\t1\t0\t\t\t${query}\n`;
}

function isUsage(message: string) {
  return (error: Error) => {
    assert.equal(error.message, message);
    return error instanceof UsageError;
  };
}

function unescapeField(field: string): string {
  const characters: Record<string, string> = { "\\": "\\", n: "\n", t: "\t", r: "\r" };
  return field.replace(/\\(.)/g, (_, character) => characters[character]!);
}

function scriptArguments(script: string, ...flags: string[]): string[] {
  const imports = `import { openJournal } from ${JSON.stringify(journalUrl)};`;
  return [process.execPath, "--import", "tsx", ...flags, "--input-type=module", "-e", imports + script];
}

function spawnScript(script: string, ...flags: string[]) {
  const [command, ...rest] = scriptArguments(script, ...flags);
  const child = spawn(command!, rest, { stdio: ["pipe", "pipe", "inherit"] });
  children.add(child);
  return child;
}
