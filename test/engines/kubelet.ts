/**
 * A replacement for the scheduler and the kubelets of Kubernetes. It binds pods to nodes in turn, and runs the command of each pod
 * on this machine.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { ApiError, type Ask } from "./api.ts";
import { type Container, kill, type Pod, runContainer } from "./container.ts";

export interface Node {
  readonly name: string;
  /** False if the node is unreachable. Its containers go on. */
  isConnected: boolean;
  /** Returns the word of a command that replaces this one on this node, such as a host name. */
  translate(word: string): string;
}

export interface Kubelet {
  /** All containers, in the order of their starts. */
  readonly containers: readonly Container[];
  stop(): Promise<void>;
}

/** Starts the loop that serves all pods. @param image the folder that replaces every image. */
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
    console.error(error); // without this loop, every test would hang
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
          // The pod was deleted or changed since the list was read.
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
    const exitCode = container?.status ?? 137; // no container: the pod was deleted before it began
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
