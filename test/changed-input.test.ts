/** Inputs that change between two runs. No query is done twice. If a run refuses its input, it runs nothing. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { doWork, type Query, RunError, type WorkOptions } from "../lib/mp.ts";
import { myglobals } from "../lib/myglobals.ts";
import { runHere } from "./command.ts";
import { useDatabase } from "./database.ts";
import { poll, start } from "./run.ts";
import { scaled } from "./soak.ts";

const { db, sql } = await useDatabase();
const directory = mkdtempSync(join(tmpdir(), "test-"));
after(() => rmSync(directory, { recursive: true }));

/** A query of an input. It inserts its id, or fails if it is broken. */
interface Entry {
  readonly id: number;
  readonly isBroken: boolean;
}

const count = 24;
const position = fc.nat(count - 1);
/** A change of the input at an index. New ids begin at 1000. */
const edit = fc.record({
  kind: fc.constantFrom("remove", "insert", "swap", "replace", "correct", "append", "cut"),
  place: position,
});
const edits = fc.array(edit, { maxLength: 2 });
const broken = fc.uniqueArray(position, { maxLength: 3 });

function inputOf(brokenOnes: readonly number[]): Entry[] {
  return Array.from({ length: count }, (_, id) => ({ id, isBroken: brokenOnes.includes(id) }));
}

function edited(entries: readonly Entry[], changes: readonly { kind: string; place: number }[]): Entry[] {
  const input = [...entries];
  for (const [index, { kind, place }] of changes.entries()) {
    const fresh = { id: 1000 + index, isBroken: false };
    if (kind === "remove") input.splice(place, 1);
    else if (kind === "insert") input.splice(place, 0, fresh);
    else if (kind === "replace") input.splice(place, 1, fresh);
    else if (kind === "append") input.push(fresh);
    else if (kind === "cut") input.length = Math.min(input.length, place);
    else if (kind === "swap" && place + 1 < input.length) input.splice(place, 2, input[place + 1]!, input[place]!);
    else if (kind === "correct") for (const [at, entry] of input.entries()) input[at] = { ...entry, isBroken: false };
  }
  return input;
}

function textOf({ id, isBroken }: Entry): string {
  return `INSERT INTO ${isBroken ? "nowhere" : "hits"} (id) VALUES (${id})`;
}

/** The connections of a script that was killed. */
const others = "SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";

/** Returns the ids of the queries that a killed run had released and that have not ended. */
function releasedIn(log: string): Set<number> {
  const outcomes = new Map<number, string>();
  for (const line of log.slice(0, log.lastIndexOf("\n")).split("\n")) {
    const [seq, , outcome] = line.split("\t");
    outcomes.set(Number(seq) - 1, outcome!);
  }
  return new Set([...outcomes].flatMap(([id, outcome]) => (outcome === "released" ? [id] : [])));
}

async function hits(): Promise<number[]> {
  return (await sql<{ id: number }>("SELECT id FROM hits ORDER BY id")).map(({ id }) => id);
}

/** Asserts that a refused run changed nothing, and that otherwise each query ran once, unless it is broken or unknown. */
async function check(input: readonly Entry[], before: readonly number[], isRefused: boolean, mayMiss = false) {
  const now = await hits();
  assert.equal(new Set(now).size, now.length, `twice: ${now}`);
  if (isRefused) assert.deepEqual(now, before);
  else if (!mayMiss) for (const { id, isBroken } of input) assert.ok(isBroken || now.includes(id), `not run: ${id}`);
}

test("a run with a ledger whose input has changed runs each query once, or refuses the input before it runs anything", async () => {
  const way = fc.record({
    hasKeys: fc.boolean(),
    batch: fc.constantFrom(1, 5),
    shard: fc.constantFrom(undefined, 1, 2, 3),
    /** The number of ended queries at which the first run is interrupted. */
    until: fc.nat(count),
    machines: fc.constantFrom(1, 2),
  });
  myglobals.config = { db };
  await fc.assert(
    fc.asyncProperty(broken, edits, way, async (brokenOnes, changes, { hasKeys, batch, shard, until, machines }) => {
      await sql("DROP TABLE IF EXISTS hits, l; CREATE TABLE hits (id INT)");
      const queries = (input: readonly Entry[]): Query[] =>
        input.map((entry) => (hasKeys ? { sql: textOf(entry), key: `key ${entry.id}` } : textOf(entry)));
      const original = inputOf(brokenOnes);
      const ending = new AbortController();
      let ended = 0;
      const first: WorkOptions = {
        ...{ ledger: "l", batch, signal: ending.signal },
        ...(shard && { shard: { index: shard, count: 3 } }),
        gates: [{ limit: (done) => Math.min(done + 2, until) }],
        onEnded: () => void (++ended >= until && ending.abort()),
      };
      if (until > 0) await doWork(queries(original), 2, first);
      const before = await hits();
      const input = edited(original, changes);
      const runs = Array.from({ length: machines }, () => doWork(queries(input), 2, { ledger: "l", batch }));
      const results = await Promise.all(runs.map((run) => run.catch((error: unknown) => error)));
      const refused = results.filter((result) => result instanceof Error);
      for (const error of refused) assert.ok(error instanceof RunError, String(error));
      await check(input, before, refused.length === machines);
      if (refused.length > 0) assert.equal(refused.length, machines, "what one refuses, the other does");
      const isHarmless = changes.every(({ kind }) => kind === "append" || kind === "correct");
      if (isHarmless) assert.equal(refused.length, 0, String(refused[0]));
      const changesText = changes.some(({ kind }) => kind === "replace" || kind === "swap");
      if (hasKeys && !changesText) assert.equal(refused.length, 0, String(refused[0]));
    }),
    { numRuns: scaled(150, 25) },
  );
});

test("a run resumed from a job log whose input has changed runs each query once, or refuses the input", async () => {
  let files = 0;
  await fc.assert(
    fc.asyncProperty(broken, edits, position, fc.boolean(), async (brokenOnes, changes, until, retryFailed) => {
      await sql("DROP TABLE IF EXISTS hits; CREATE TABLE hits (id INT)");
      const [file, joblog] = [join(directory, `${++files}.sql`), join(directory, `${files}.log`)];
      const args = ["-S", db.socketPath, "-u", db.user, "-D", db.database, "-j2", "--joblog", joblog];
      const original = inputOf(brokenOnes);
      const write = (input: readonly Entry[]) =>
        writeFileSync(file, input.map((entry) => `${textOf(entry)};\n`).join(""));
      write(original);
      const killed = start([...args, "--rate", "200", file]);
      await poll(async () => (await hits()).length > until || killed.child.exitCode !== null);
      killed.child.kill("SIGKILL");
      await killed.ended;
      await poll(async () => (await sql(others)).length === 0); // its last INSERT may still run
      const before = await hits();
      const input = edited(original, changes);
      // What was released and has not ended may have run, even if it would have failed: it keeps its text.
      const mayHaveRun = releasedIn(readFileSync(joblog, "utf8"));
      const changesReleased = input.some(
        ({ isBroken }, id) => original[id]?.isBroken !== isBroken && mayHaveRun.has(id),
      );
      write(input);
      const again = await runHere([...args, "--resume", ...(retryFailed ? ["--retry-failed"] : []), file]);
      const isRefused = again.status === 2;
      await check(input, before, isRefused, again.status === 3 || !retryFailed);
      const isHarmless = changes.every(({ kind }) => kind === "append" || kind === "correct");
      if (isHarmless) assert.equal(isRefused, changesReleased, again.stderr);
    }),
    { numRuns: scaled(40, 6) },
  );
});
