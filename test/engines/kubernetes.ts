/**
 * Tests the Job of lib/command/machines.md on Kubernetes: its API server and Job controller, a replacement for the nodes, and a
 * MariaDB. After faults of pods, nodes and the controller, each row is updated once, and the Job names each shard that failed.
 */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, type TestContext, test } from "node:test";
import { poll, root } from "../run.ts";
import { type Container, kill } from "./container.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { type HeldRows, heldCount, password, rowCount, startHeldRows } from "./held-rows.ts";
import { applyJob, type Job } from "./job.ts";
import { type Kubelet, type Node, startKubelet } from "./kubelet.ts";

let rows: HeldRows;
let plane: ControlPlane;
let kubelet: Kubelet;
let isNetworkBroken = false;
/** The folder that replaces the image: the project after `npm ci`, and `backfill.sql`. */
let image: string;
const nodes = ["a", "b"].map((name): Node => ({ name, isConnected: true, translate: (word) => translate(name, word) }));
const b = nodes[1]!;
const indexes = [0, 1, 2];

export function testKubernetes(): void {
  before(async () => {
    image = mkdtempSync(join(tmpdir(), "myscript-image-"));
    for (const name of ["package.json", "myscript.ts"]) cpSync(join(root, name), join(image, name));
    for (const name of ["lib", "node_modules"]) symlinkSync(join(root, name), join(image, name));
    rows = await startHeldRows();
    plane = await startControlPlane();
    kubelet = await startKubelet(plane.ask, nodes, image);
  });
  after(async () => {
    await kubelet?.stop();
    await plane?.stop();
    await rows?.stop();
    rmSync(image, { recursive: true });
  });
  afterEach(async () => {
    await rows?.release(); // reset for the next test, even if this one has failed
    isNetworkBroken = false;
    for (const node of nodes) node.isConnected = true;
  });
  for (const [title, scenario] of Object.entries(scenarios)) {
    test(title, { timeout: 600_000 }, async (t) => {
      const started = kubelet.containers.length;
      try {
        await scenario(t);
      } catch (error) {
        for (const { pod, index, status, output } of kubelet.containers.slice(started)) {
          t.diagnostic(`${pod.metadata.name} of index ${index}, exit status ${status}:\n${output.slice(-2000)}`);
        }
        throw error;
      }
    });
  }
}

/** Each scenario begins when four queries of each shard wait for locked rows. */
const scenarios: Readonly<Record<string, (t: TestContext) => Promise<void>>> = {
  async "the Job runs each query once"(t) {
    const job = await begin("plain");
    await rows.release();
    assert.equal((await job.ends(t))[0], "Complete");
  },

  async "a pod that is killed with -9 is run again"(t) {
    const job = await begin("kill");
    kill(job.container(1), "SIGKILL");
    await rows.release();
    assert.equal((await job.ends(t))[0], "Complete");
    assert.deepEqual(job.statuses(1), [137, 0]);
  },

  async "a pod that is evicted lets what is in flight end, and is run again"(t) {
    const job = await begin("evict");
    await job.evict(job.container(1));
    await isDraining(job.container(1));
    await rows.release();
    assert.equal((await job.ends(t))[0], "Complete");
    assert.deepEqual(job.statuses(1), [143, 0]);
  },

  async "a pod that ends with 3 is not run again, the others go on, and the Job fails with its index"(t) {
    const job = await begin("unknown", { 2: "CALL bump(2)" });
    await rows.loseCall();
    await rows.release();
    await failsWithIndexOne(t, job, [3]);
  },

  async "a pod that ends with 3 and is evicted before its node has told so is not run again"(t) {
    const job = await begin("late", { 2: "CALL bump(2)" });
    const node = nodes.find(({ name }) => name === job.container(1).node)!;
    node.isConnected = false;
    await rows.loseCall();
    await rows.release();
    await poll(() => job.statuses(1)[0] === 3);
    await job.evict(job.container(1));
    node.isConnected = true;
    await failsWithIndexOne(t, job, [3]);
  },

  async "a query that fails is tried by four pods, and the Job fails with its index"(t) {
    const job = await begin("failed", { 2: "UPDATE nowhere SET v = 1" });
    await rows.release();
    await failsWithIndexOne(t, job, [1, 1, 1, 1], 1);
  },

  async "a pod whose network is broken ends with 2, is run again, and ends no other"(t) {
    isNetworkBroken = true; // on node b
    const job = await begin("network", {}, { isWaiting: false });
    await poll(() => indexes.every((index) => job.statuses(index).length > 0));
    const broken = indexes.filter((index) => job.container(index).node === b.name);
    await poll(() => broken.every((index) => job.statuses(index)[0] === 2));
    isNetworkBroken = false;
    await rows.waits();
    await rows.release();
    assert.equal((await job.ends(t))[0], "Complete");
    for (const index of indexes) {
      // Status 2 occurs twice if a pod was restarted before the network worked again.
      const ended = [...new Set(job.statuses(index))];
      assert.deepEqual(ended, broken.includes(index) ? [2, 0] : [0]);
    }
  },

  async "pods with a wrong password end with 2, four times each, and the Job fails"(t) {
    const job = await begin("password", {}, { isWaiting: false, secret: "wrong" });
    await rows.release();
    const [type, reason, { failedIndexes }] = await job.ends(t, rowCount);
    assert.deepEqual([type, reason, failedIndexes], ["Failed", "FailedIndexes", "0-2"]);
    for (const index of indexes) assert.deepEqual(job.statuses(index), [2, 2, 2, 2]);
    assert.match(job.container(0).output, /Access denied/);
  },

  async "the shard of a lost node runs elsewhere once the node is deleted, while the lost pod runs on"(t) {
    const job = await begin("node");
    b.isConnected = false;
    const lost = indexes.filter((index) => job.container(index).node === b.name);
    assert.ok(lost.length > 0);
    // Kubernetes' node controllers, which do not run here, evict the pods after five minutes. The pods stay until their node reports the end.
    for (const index of lost) await job.evict(job.container(index));
    await poll(async () => (await job.status()).terminating === lost.length);
    await plane.ask("DELETE", "/api/v1/nodes/b");
    await poll(() => lost.every((index) => job.statuses(index).length === 2), 180);
    await rows.release();
    assert.equal((await job.ends(t))[0], "Complete");
    await poll(() => lost.every((index) => job.statuses(index)[0] === 0));
    b.isConnected = true;
    await plane.ask("POST", "/api/v1/nodes", { metadata: { name: "b" } });
  },

  async "the Job is suspended and resumed more often than a pod may fail"(t) {
    const job = await begin("suspend");
    for (const from of [350, 400, 450, 500]) {
      const running = indexes.map(job.container);
      await job.suspend(true);
      await Promise.all(running.map(isDraining));
      await rows.release();
      await poll(() => running.every(({ status }) => status !== undefined));
      await poll(async () => isSuspended(await job.status()));
      await rows.hold(from);
      await job.suspend(false);
      await rows.waits();
    }
    await rows.release();
    assert.equal((await job.ends(t))[0], "Complete");
    for (const index of indexes) assert.deepEqual(job.statuses(index), [143, 143, 143, 143, 0]);
  },

  async "the controller is killed, and while it is away a pod is killed and the others end"(t) {
    const job = await begin("controller");
    await plane.killController();
    kill(job.container(1), "SIGKILL");
    await rows.release();
    await poll(() => indexes.every((index) => job.statuses(index)[0] !== undefined));
    plane.startController();
    assert.equal((await job.ends(t))[0], "Complete");
    assert.deepEqual(indexes.map(job.statuses), [[0], [137, 0], [0]]);
  },
};

/** Creates the rows anew, applies the Job, and waits until each worker waits for a row. */
async function begin(
  namespace: string,
  /** Queries that replace the update of a row, by its id. */
  instead: Readonly<Record<number, string>> = {},
  { secret = password, isWaiting = true } = {},
): Promise<Job> {
  const query = (id: number) => instead[id] ?? `UPDATE parts SET v = v + 1 WHERE id = ${id}`;
  writeFileSync(join(image, "backfill.sql"), Array.from({ length: rowCount }, (_, n) => `${query(n + 1)};\n`).join(""));
  await rows.fill();
  const job = await applyJob(plane.ask, kubelet.containers, rows, namespace, secret);
  // A worker that runs the procedure does not wait for a locked row.
  if (isWaiting) await rows.waits(heldCount - (instead[2]?.startsWith("CALL") ? 1 : 0));
  return job;
}

async function failsWithIndexOne(t: TestContext, job: Job, statuses: readonly number[], left = 0): Promise<void> {
  const [type, reason, { failedIndexes, completedIndexes }] = await job.ends(t, left);
  assert.deepEqual([type, reason, failedIndexes, completedIndexes], ["Failed", "FailedIndexes", "1", "0,2"]);
  assert.deepEqual(job.statuses(1), statuses);
}

function isDraining(container: Container): Promise<void> {
  return poll(() => /SIGTERM: waiting/.test(container.output));
}

function isSuspended({ active, conditions }: Awaited<ReturnType<Job["status"]>>): boolean {
  return !active && conditions?.some(({ type, status }) => type === "Suspended" && status === "True") === true;
}

/** Replaces the host names of the page by addresses. On node b with a broken network, they lead nowhere. */
function translate(node: string, word: string): string {
  if (node !== "b" || !isNetworkBroken) return word.replace("db1,db2,db3", rows.hosts);
  return word.replace("db1,db2,db3", "127.0.0.1:1").replace("--connect-timeout 600", "--connect-timeout 1");
}
