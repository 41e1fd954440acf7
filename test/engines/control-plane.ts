/** Builds and runs etcd, the API server and the controllers of Kubernetes on this machine, without containers and nodes. */
import type { ChildProcess } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { poll } from "../run.ts";
import { findFreePort } from "../server.ts";
import { type Ask, apiClient } from "./api.ts";
import { enginesDirectory, go, goBuild, goModule } from "./go-build.ts";
import { end as endKept, keep as startKept } from "./kept.ts";

export const version = "v1.37.2";
const staging = version.replace("v1.", "v0."); // the version of the k8s.io modules from the same repository
const folder = join(enginesDirectory, `kubernetes-${version}`);
const program = (name: string) => join(folder, "bin", name);
const programs = {
  etcd: "go.etcd.io/etcd/server/v3",
  "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
  "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
} as const;
const controllers = "job-controller,garbage-collector-controller,pod-garbage-collector-controller";

/** Builds the programs that are missing. */
export async function buildControlPlane(): Promise<void> {
  const missing = Object.entries(programs).filter(([name]) => !existsSync(program(name)));
  if (missing.length === 0) return;
  const source = join(folder, "source");
  goModule(source, "control-plane");
  const { Dir } = JSON.parse(go(source, "mod", "download", "-json", `k8s.io/kubernetes@${version}`));
  // Kubernetes' go.mod replaces these modules by folders of its repository, which a download lacks.
  const parts = readFileSync(join(Dir, "go.mod"), "utf8").matchAll(/^\t(k8s\.io\/\S+) v0\.0\.0$/gm);
  go(source, "mod", "edit", ...[...parts].map(([, part]) => `-replace=${part}=${part}@${staging}`));
  go(source, "get", `k8s.io/kubernetes@${version}`);
  await goBuild(source, Object.fromEntries(missing.map(([name, path]) => [program(name), path])));
}

export interface ControlPlane {
  readonly ask: Ask;
  startController(): void;
  /** Kills the controller manager with SIGKILL. */
  killController(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts etcd, the API server and the controllers on free ports of 127.0.0.1. Their files are in a private folder. */
export async function startControlPlane(): Promise<ControlPlane> {
  const directory = mkdtempSync(join(tmpdir(), "myscript-kubernetes-"));
  const file = (name: string) => join(directory, name);
  const [etcd, peers, api] = [await findFreePort(), await findFreePort(), await findFreePort()];
  const token = `${Math.random()}`;
  writeKeys(file, api, token);
  const clear = () => rmSync(directory, { recursive: true, force: true });
  process.once("exit", clear);
  const kept = new Set<ChildProcess>();
  let controller: ChildProcess;
  const stop = async () => {
    await Promise.all([...kept].map(end));
    clear();
  };
  keep("etcd", etcdSettings(file("etcd"), etcd, peers));
  keep("kube-apiserver", {
    "etcd-servers": `http://127.0.0.1:${etcd}`,
    "bind-address": "127.0.0.1",
    "secure-port": api,
    "endpoint-reconciler-type": "none",
    "cert-dir": directory,
    "token-auth-file": file("tokens"),
    "authorization-mode": "AlwaysAllow",
    "disable-admission-plugins": "ServiceAccount",
    "service-account-issuer": "https://kubernetes",
    "service-account-key-file": file("accounts.pub"),
    "service-account-signing-key-file": file("accounts.key"),
    "service-cluster-ip-range": "10.0.0.0/24",
  });
  const ask = apiClient(api, token, file("apiserver.crt"));
  try {
    await poll(() => existsSync(file("apiserver.crt")) && isReady(ask), 120);
  } catch (error) {
    const lastWords = ["etcd", "kube-apiserver"].map((name) => readFileSync(file(`${name}.log`), "utf8").slice(-2000));
    await stop();
    throw new Error(lastWords.join("\n"), { cause: error });
  }
  startController();
  return { ask, startController, killController: () => end(controller), stop };

  function keep(name: keyof typeof programs, settings: Readonly<Record<string, unknown>>): ChildProcess {
    const options = Object.entries(settings).map(([option, value]) => `--${option}=${value}`);
    const child = startKept([program(name), ...options], file(`${name}.log`));
    kept.add(child);
    return child;
  }

  async function end(child: ChildProcess): Promise<void> {
    kept.delete(child);
    await endKept(child);
  }

  function startController(): void {
    controller = keep("kube-controller-manager", {
      kubeconfig: file("kubeconfig"),
      "bind-address": "127.0.0.1",
      "secure-port": 0,
      "leader-elect": false,
      controllers,
    });
  }
}

function isReady(ask: Ask): Promise<boolean> {
  return ask("GET", "/readyz").then(
    () => true,
    () => false,
  );
}

function etcdSettings(directory: string, clients: number, peers: number): Record<string, unknown> {
  const [clientUrl, peerUrl] = [`http://127.0.0.1:${clients}`, `http://127.0.0.1:${peers}`];
  return {
    "data-dir": directory,
    "listen-client-urls": clientUrl,
    "advertise-client-urls": clientUrl,
    "listen-peer-urls": peerUrl,
    "initial-advertise-peer-urls": peerUrl,
    "initial-cluster": `default=${peerUrl}`,
    "log-level": "error",
  };
}

function writeKeys(file: (name: string) => string, port: number, token: string): void {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  writeFileSync(file("accounts.key"), privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  writeFileSync(file("accounts.pub"), publicKey.export({ type: "spki", format: "pem" }));
  writeFileSync(file("tokens"), `${token},admin,1,system:masters\n`, { mode: 0o600 });
  const cluster = { server: `https://127.0.0.1:${port}`, "certificate-authority": file("apiserver.crt") };
  const kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "here", cluster }],
    users: [{ name: "admin", user: { token } }],
    contexts: [{ name: "here", context: { cluster: "here", user: "admin" } }],
    "current-context": "here",
  };
  writeFileSync(file("kubeconfig"), JSON.stringify(kubeconfig), { mode: 0o600 });
}
