/** A thread's side in the thread of the tests, over a MessageChannel: it needs no thread of its own. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { MessageChannel } from "node:worker_threads";
import { myglobals } from "../lib/myglobals.ts";
import { Packer } from "../lib/parent/packer.ts";
import { Counters } from "../lib/shared/counters.ts";
import type { FromThread, Settings } from "../lib/shared/messages.ts";
import { outcomeOf, Segment } from "../lib/shared/segment.ts";
import { main } from "../lib/worker/main.ts";
import { useDatabase } from "./database.ts";

const { sql } = await useDatabase();
await sql("CREATE TABLE t (id INT PRIMARY KEY)");
const counters = new Counters(2);
const settings: Settings = {
  ...{
    myglobals,
    workers: [1, 2],
    script: undefined,
    bundle: undefined,
    compileCache: undefined,
    counters: counters.shared,
    hosts: [],
  },
  ...{ retries: 10, connectTimeoutMs: 10_000, timeoutMs: undefined, idempotent: false, features: {} },
  ...{
    maxFailures: Number.POSITIVE_INFINITY,
    maxWarnings: Number.POSITIVE_INFINITY,
    sessionSetup: [],
    isOnlyWorker: false,
    isRenewed: false,
  },
};

test("main() runs what its segments have, in two workers, says what failed, and ends when it is told", async () => {
  const packer = new Packer();
  const queries = [
    "INSERT INTO t VALUES (1)",
    "INSERT INTO t VALUES (1)",
    { sql: "INSERT INTO t VALUES (?)", values: [2] },
  ];
  for (const [index, query] of queries.entries()) packer.add(query, index + 1);
  const segment = new Segment(packer.seal().shared);
  segment.admit(segment.count);
  const { port1, port2 } = new MessageChannel();
  const told: FromThread[] = [];
  port1.on("message", (message: FromThread) => told.push(message));
  const running = main(port2, settings, () => Promise.reject(new Error("there is no script")));
  port1.postMessage({ type: "segment", shared: segment.shared });
  while (counters.read().done + counters.read().failed < 3) await once(port1, "message");
  port1.postMessage({ type: "end" });
  await running;
  const outcomes = queries.map((_, index) => outcomeOf(segment.state(index)));
  assert.deepEqual([outcomes.toSorted(), outcomes[2]], [["done", "done", "failed"], "done"]);
  assert.deepEqual(await sql("SELECT id FROM t ORDER BY id"), [{ id: 1 }, { id: 2 }]);
  const errors = told.filter((message) => message.type === "error");
  assert.deepEqual(
    errors.map(({ error }) => error.code),
    ["ER_DUP_ENTRY"],
  );
  assert.ok(told.some(({ type }) => type === "connected"));
  port1.close();
});
