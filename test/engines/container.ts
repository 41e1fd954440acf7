/** The container of a pod: processes of this machine. */
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

/** What the Job of machines.md has of a pod. */
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
  /** That of the Job: 0 is shard 1. */
  readonly index: number;
  readonly node: string;
  readonly child: ChildProcess;
  /** All that it has printed. */
  output: string;
  /** The exit status, once it has ended; as in a shell, 128 and more for a signal. */
  status?: number;
  /** SIGTERM was sent. */
  isEnding?: true;
}

export async function runContainer(ask: Ask, pod: Pod, node: Node, image: string): Promise<Container> {
  const { command, args, env } = pod.spec.containers[0];
  const environment: Record<string, string> = { PATH: process.env.PATH!, HOME: "/nonexistent" };
  for (const variable of env) environment[variable.name] = await resolve(ask, pod, variable);
  const [program, ...rest] = [...command, ...args].map((word) => node.translate(expand(word, environment)));
  const child = spawn(program!, rest, {
    cwd: image,
    env: environment,
    detached: true, // a process group of its own, to be killed as a whole
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

/** Sends SIGTERM to the first process of a container. SIGKILL ends all of them. */
export function kill({ child }: Container, signal: "SIGTERM" | "SIGKILL"): void {
  if (child.exitCode !== null || child.signalCode !== null) return;
  process.kill(signal === "SIGKILL" ? -child.pid! : child.pid!, signal);
}

/** Puts variables in the place of `$(NAME)`. What is none stays, such as `$((1 + 2))`, which is the shell's. */
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
