/**
 * A stand-in for the scheduler and the kubelets of Kubernetes: binds pods to nodes in turn, and runs the command of each pod as
 * processes of this machine.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { ApiError, type Ask } from "./api.ts";
import { type Container, kill, type Pod, runContainer } from "./container.ts";

export interface Node {
  readonly name: string;
  /** False if nothing is heard of it. Its containers run on. */
  isConnected: boolean;
  /** Takes a word of a command as what it means on this node. */
  translate(word: string): string;
}

export interface Kubelet {
  /** All that were started, in the order of their starts. */
  readonly containers: readonly Container[];
  stop(): Promise<void>;
}

/** @param image the folder that stands for every image. */
export async function startKubelet(ask: Ask, nodes: readonly Node[], image: string): Promise<Kubelet> {
  const containers: Container[] = [];
  let bound = 0;
  let isStopped = false;
  const killAll = () => {
    for (const container of containers) kill(container, "SIGKILL");
  };
  process.once("exit", killAll);
  for (const { name } of nodes) await ask("POST", "/api/v1/nodes", { metadata: { name } });
  const running = loop().catch((error) => {
    console.error(error); // no test would go on without it
    process.exit(1);
  });
  return {
    containers,
    async stop() {
      isStopped = true;
      process.off("exit", killAll);
      killAll();
      await running;
    },
  };

  async function loop(): Promise<void> {
    while (!isStopped) {
      const { items } = await ask<{ items: Pod[] }>("GET", "/api/v1/pods");
      for (const pod of items) {
        await attend(pod).catch((error) => {
          // It has gone or changed since.
          if (!(error instanceof ApiError && [404, 409].includes(error.status))) throw error;
        });
      }
      await sleep(100);
    }
  }

  async function attend(pod: Pod): Promise<void> {
    const { name, namespace, uid, deletionTimestamp, deletionGracePeriodSeconds = 30 } = pod.metadata;
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    if (pod.spec.nodeName === undefined) return bind(path, name);
    const node = nodes.find((candidate) => candidate.name === pod.spec.nodeName)!;
    if (!node.isConnected) return;
    if (["Succeeded", "Failed"].includes(pod.status.phase)) {
      if (deletionTimestamp) await ask("DELETE", path, { gracePeriodSeconds: 0 });
      return;
    }
    const container = containers.find((candidate) => candidate.pod.metadata.uid === uid);
    if (!container && !deletionTimestamp) {
      containers.push(await runContainer(ask, pod, node, image));
      return ask("PATCH", `${path}/status`, { status: { phase: "Running" } });
    }
    if (container && container.status === undefined) {
      if (!deletionTimestamp || container.isEnding) return;
      container.isEnding = true;
      kill(container, "SIGTERM");
      setTimeout(kill, deletionGracePeriodSeconds * 1000, container, "SIGKILL").unref();
      return;
    }
    const exitCode = container?.status ?? 137; // one that was deleted before it began
    const terminated = { exitCode, reason: exitCode === 0 ? "Completed" : "Error" };
    const phase = exitCode === 0 ? "Succeeded" : "Failed";
    const containerStatuses = [{ name: pod.spec.containers[0].name, state: { terminated } }];
    await ask("PATCH", `${path}/status`, { status: { phase, containerStatuses } });
  }

  function bind(path: string, pod: string): Promise<void> {
    const ready = nodes.filter(({ isConnected }) => isConnected);
    const { name } = ready[bound++ % ready.length]!;
    return ask("POST", `${path}/binding`, { metadata: { name: pod }, target: { kind: "Node", name } });
  }
}
