import assert from "node:assert/strict";
import { test } from "node:test";
import { MessageChannel } from "node:worker_threads";
import type { DatabaseError } from "../lib/mysql/errors.ts";
import type { Settings, ToThread } from "../lib/shared/messages.ts";
import type { RetryDecision } from "../lib/worker/executor.ts";
import type { Job } from "../lib/worker/job.ts";
import { plain } from "../lib/worker/plain.ts";
import type { Session } from "../lib/worker/session.ts";
import { Thread } from "../lib/worker/thread.ts";

test("plain().classifyError() returns the meaning of an error for a query, and whether to retry", async () => {
  const update = "UPDATE t SET v = 1";
  const deadlock = { errno: 1213, code: "ER_LOCK_DEADLOCK" };
  const lost = { code: "PROTOCOL_CONNECTION_LOST", fatal: true };
  const never = "1196 Some non-transactional changed tables couldn't be rolled back";
  const cases: [
    what: string,
    facts: object,
    text: string,
    idempotent: boolean,
    warning: string,
    decision: RetryDecision,
  ][] = [
    ["a refusal", { errno: 1146 }, update, false, "", { retry: "no" }],
    ["a refusal, harmless twice", { errno: 1146 }, update, true, "", { retry: "no" }],
    ["a deadlock", deadlock, update, false, "", { retry: "counted", waits: true }],
    ["a deadlock in a CALL", deadlock, "CALL p()", false, "", { retry: "no", waits: true }],
    ["the same, harmless twice", deadlock, "CALL p()", true, "", { retry: "counted", waits: true }],
    ["a deadlock that leaves changes", deadlock, update, false, never, { retry: "no", waits: true }],
    ["a deadlock in a second statement", { ...deadlock, answered: 1 }, update, false, "", { retry: "no", waits: true }],
    ["a lost connection", lost, update, false, "", { mayHaveRun: true, retry: "no" }],
    ["the same, harmless twice", lost, update, true, "", { mayHaveRun: true, retry: "counted" }],
    ["nothing sent", { code: "EPIPE", fatal: true }, update, false, "", { retry: "counted", waits: false }],
    ["killed", { errno: 1927 }, update, false, "", { mayHaveRun: true, retry: "no" }],
  ];
  for (const [what, facts, text, idempotent, warning, decision] of cases) {
    const executor = plain({ settings: { idempotent } } as Thread);
    const itself = { code: (facts as DatabaseError).errno }; // SHOW WARNINGS lists the error itself, too
    const session = {
      mysql: {},
      askWarnings: async () => (warning ? [itself, { code: Number.parseInt(warning, 10) }] : [itself]),
    };
    const error: DatabaseError = { message: "it failed", ...facts };
    assert.deepEqual(await executor.classifyError({ text } as Job, error, session as never as Session), decision, what);
    if (warning) assert.equal(error.message, "it failed; what it did to tables without transactions stays");
    if (error.answered) assert.equal(error.message, "it failed (statement 2 of the query; those before it are done)");
  }
});

test("plain().attempt() does not send a query that is too long for a string, because the rows need its text later", async () => {
  const executor = plain({ settings: {}, rows: { listener: () => ({}) } } as never as Thread);
  const job = {
    query: "DO 1",
    get text(): string {
      throw new Error("Cannot create a string longer than 0x1fffffe8 characters");
    },
  };
  let isSent = false;
  const session = {
    get mysql() {
      isSent = true;
      return undefined;
    },
  };
  await assert.rejects(
    executor.attempt([job as never as Job], session as never as Session, () => {}),
    /Cannot create a string/,
  );
  assert.equal(isSent, false);
});

test("Thread.wait() returns no query after the end, even if a drain follows it", {
  timeout: 10_000,
}, async () => {
  const { port1, port2 } = new MessageChannel();
  const settings: Partial<Settings> = { counters: new SharedArrayBuffer(1024), sessionSetup: [], features: {} };
  const thread = new Thread(port2, settings as Settings);
  const types: ToThread["type"][] = ["admitted", "end", "drain"];
  for (const type of types) port1.postMessage({ type });
  while (await thread.wait())
    assert.deepEqual(
      thread.claimNow(1, 1, () => false),
      [],
    );
  assert.equal(await thread.wait(), false, "the drain has not taken the end back");
  port1.close();
});

test("Thread.pause() warns of no leak when many workers pause, and ends when the run drains", {
  timeout: 10_000,
}, async () => {
  const { port1, port2 } = new MessageChannel();
  const settings: Partial<Settings> = { counters: new SharedArrayBuffer(1024), sessionSetup: [], features: {} };
  const thread = new Thread(port2, settings as Settings);
  const warnings: Error[] = [];
  process.on("warning", (warning) => warnings.push(warning));
  const pauses = Array.from({ length: 50 }, () => thread.pause(600_000));
  port1.postMessage({ type: "drain" } satisfies ToThread);
  await Promise.all(pauses);
  await thread.pause(600_000);
  port1.close();
  assert.deepEqual(warnings, []);
});
