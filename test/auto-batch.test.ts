import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { largestBatch, withAutoBatch } from "../lib/features/batch/auto-batch.ts";
import type { Executor } from "../lib/worker/executor.ts";
import type { Job } from "../lib/worker/job.ts";
import type { Session } from "../lib/worker/session.ts";

test("withAutoBatch() takes ever more small queries together, and slow ones alone", async () => {
  let waitMs = 0;
  const session = { mysql: {}, ask: async () => [] } as unknown as Session;
  const executor = withAutoBatch({
    maxBatch: largestBatch,
    commitMs: 0,
    async attempt(jobs, _, done) {
      if (waitMs > 0) await sleep(waitMs * jobs.length);
      for (const _ of jobs) done(1);
    },
  } as Executor);
  const attempt = async () => {
    const jobs: Job[] = new Array(executor.maxBatch);
    let done = 0;
    await executor.attempt(jobs, session, () => done++);
    assert.equal(done, jobs.length);
    return jobs.length;
  };
  const first = [await attempt(), await attempt()];
  assert.equal(first[0], 1, "nothing is known of the first one");
  assert.ok(first[1]! <= 2);
  for (let tries = 0; executor.maxBatch < largestBatch; tries++) {
    assert.ok(tries < 1000);
    await attempt();
  }
  waitMs = 20;
  await attempt();
  for (let tries = 0; tries < 20; tries++) await attempt();
  assert.equal(executor.maxBatch, 1);
});
