/** Runs the container of a pod as processes of this machine. */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import type { Ask } from "./api.ts";
import type { Node } from "./kubelet.ts";

interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly fieldRef?: { readonly fieldPath: string };
    readonly secretKeyRef?: { readonly name: string; readonly key: string };
  };
}

/** The fields of a pod that the Job of machines.md uses. */
export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly annotations: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
    readonly deletionGracePeriodSeconds?: number;
  };
  readonly spec: {
    readonly nodeName?: string;
    readonly containers: readonly [
      { readonly name: string; readonly command: string[]; readonly args: string[]; readonly env: readonly Variable[] },
    ];
  };
  readonly status: { readonly phase: string };
}

export interface Container {
  readonly pod: Pod;
  /** The completion index in the Job. Index 0 is shard 1. */
  readonly index: number;
  readonly node: string;
  readonly child: ChildProcess;
  /** Everything that it has printed, stdout and stderr. */
  output: string;
  /** The exit status after its end. After a signal, 128 plus its number, as in a shell. */
  status?: number;
  /** True after SIGTERM was sent. */
  isEnding?: true;
}

/** Starts a pod's command, with `image` as its working directory. */
export async function runContainer(ask: Ask, pod: Pod, node: Node, image: string): Promise<Container> {
  const { command, args, env } = pod.spec.containers[0];
  const environment: Record<string, string> = { PATH: process.env.PATH!, HOME: "/nonexistent" };
  for (const variable of env) environment[variable.name] = await resolve(ask, pod, variable);
  const [program, ...rest] = [...command, ...args].map((word) => node.translate(expand(word, environment)));
  const child = spawn(program!, rest, {
    cwd: image,
    env: environment,
    detached: true, // a process group of its own, which kill() ends as a whole
    stdio: ["ignore", "pipe", "pipe"],
  });
  const index = Number(pod.metadata.annotations["batch.kubernetes.io/job-completion-index"]);
  const container: Container = { pod, index, node: node.name, child, output: "" };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      container.output += text;
    });
  }
  child.once("close", (status, signal) => {
    container.status = status ?? 128 + constants.signals[signal!];
  });
  return container;
}

/** Sends SIGTERM to the first process of a container, or SIGKILL to all of its processes. */
export function kill({ child }: Container, signal: "SIGTERM" | "SIGKILL"): void {
  if (child.exitCode !== null || child.signalCode !== null) return;
  process.kill(signal === "SIGKILL" ? -child.pid! : child.pid!, signal);
}

/** Replaces `$(NAME)` by the variable's value. Anything else stays, such as `$((1 + 2))` for the shell. */
function expand(word: string, environment: Readonly<Record<string, string>>): string {
  return word.replace(/\$\$|\$\(([^)]*)\)/g, (all, name) => (all === "$$" ? "$" : (environment[name] ?? all)));
}

async function resolve(ask: Ask, pod: Pod, { value = "", valueFrom }: Variable): Promise<string> {
  const { fieldRef, secretKeyRef: secret } = valueFrom ?? {};
  if (fieldRef) return pod.metadata.annotations[/\['(.*)'\]/.exec(fieldRef.fieldPath)![1]!]!;
  if (!secret) return value;
  const path = `/api/v1/namespaces/${pod.metadata.namespace}/secrets/${secret.name}`;
  const { data } = await ask<{ data: Record<string, string> }>("GET", path);
  return Buffer.from(data[secret.key]!, "base64").toString();
}
