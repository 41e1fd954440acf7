/** Applies the Job of lib/command/machines.md unchanged, and reads its status and its pods. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { poll, root } from "../run.ts";
import type { Ask } from "./api.ts";
import type { Container } from "./container.ts";
import { type HeldRows, rowCount } from "./held-rows.ts";

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
}

export interface JobStatus {
  readonly conditions?: readonly Condition[];
  readonly active?: number;
  readonly terminating?: number;
  readonly failed?: number;
  readonly completedIndexes?: string;
  readonly failedIndexes?: string;
}

export interface Job {
  status(): Promise<JobStatus>;
  suspend(isSuspended: boolean): Promise<void>;
  /** Evicts a pod, as `kubectl drain` does with each pod of a node. */
  evict(container: Container): Promise<void>;
  /** Returns the newest container of an index. */
  container(index: number): Container;
  /** Returns the exit statuses of an index's containers, in the order of their starts. */
  statuses(index: number): (number | undefined)[];
  /** Waits for the Job's end and prints what happened. Asserts that `left` rows were not updated, and all others once. */
  ends(t: TestContext, left?: number): Promise<[type: string, reason: string | undefined, status: JobStatus]>;
}

const manifest = /^```yaml\n(.*?kind: Job.*?)^```$/ms.exec(
  readFileSync(join(root, "lib/command/machines.md"), "utf8"),
)![1]!;

/** Applies the manifest in a namespace of its own. */
export async function applyJob(
  ask: Ask,
  containers: readonly Container[],
  rows: HeldRows,
  namespace: string,
  password: string,
): Promise<Job> {
  const path = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  const core = `/api/v1/namespaces/${namespace}`;
  await ask("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
  await ask("POST", `${core}/secrets`, { metadata: { name: "backfill" }, stringData: { password } });
  await ask("POST", `${path}?fieldValidation=Strict`, manifest); // as kubectl validates
  return { status, suspend, evict, container: (index) => of(index).at(-1)!, statuses, ends };

  function of(index: number): Container[] {
    return containers.filter((one) => one.pod.metadata.namespace === namespace && one.index === index);
  }

  function statuses(index: number) {
    return of(index).map((one) => one.status);
  }

  async function status(): Promise<JobStatus> {
    return (await ask<{ status: JobStatus }>("GET", `${path}/backfill`)).status;
  }

  async function suspend(isSuspended: boolean): Promise<void> {
    await ask("PATCH", `${path}/backfill`, { spec: { suspend: isSuspended } });
  }

  async function evict({ pod }: Container): Promise<void> {
    const { name } = pod.metadata;
    const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace } };
    await ask("POST", `${core}/pods/${name}/eviction`, eviction);
  }

  async function ends(t: TestContext, left = 0) {
    let last: JobStatus = {};
    let condition: Condition | undefined;
    await poll(async () => {
      last = await status();
      condition = last.conditions?.find((one) => /^(?:Complete|Failed)$/.test(one.type) && one.status === "True");
      return condition !== undefined;
    }, 300);
    const { type, reason } = condition!;
    const counts = await rows.counts();
    t.diagnostic(counts.map(([times, count]) => `${count} rows updated ${times} x`).join(", "));
    t.diagnostic(`exit statuses ${[0, 1, 2].map((index) => `${index}: ${statuses(index).join(" ")}`).join(", ")}`);
    const { completedIndexes, failedIndexes, failed = 0 } = last;
    t.diagnostic(
      `${type} (${reason}), completed ${completedIndexes || "none"}, failed ${failedIndexes || "none"}, ${failed} pods failed`,
    );
    const wanted = [...(left > 0 ? [[0, left]] : []), ...(left < rowCount ? [[1, rowCount - left]] : [])];
    assert.deepEqual(counts, wanted);
    return [type, reason, last] as [string, string | undefined, JobStatus];
  }
}
