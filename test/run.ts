/** Runs myscript.ts as a person does: in a process of its own, with an end to the patience. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import "./target.ts"; // what is run finds that server

export const root = fileURLToPath(new URL("..", import.meta.url));
const readsTypeScript = Boolean((process.features as { typescript?: unknown }).typescript);
/** What runs a TypeScript file on the runtime of the tests: with tsx, where it does not read TypeScript by itself. */
export const runtime = [process.execPath, ...(readsTypeScript ? [] : ["--import", "tsx"])];
/** The two ways to start it: the second has a process in between. */
export const viaNode = [...runtime, "myscript.ts"];
export const viaTsx = ["node_modules/.bin/tsx", "myscript.ts"];

// The processes of a run end with the tests, also when these are interrupted.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

export interface RunOptions {
  /** What the arguments are put behind. @default viaNode */
  command?: readonly string[];
  /** @default the one of the project */
  folder?: string;
  /** Besides the environment of the tests, which has no MYSQL_* and no option file in its HOME. */
  env?: NodeJS.ProcessEnv;
  /** Standard input; `null` leaves it open. @default nothing */
  input?: string | Uint8Array | null;
  /** Leaves stdout to the test. @default false */
  unread?: boolean;
  /** All processes of the run are killed after so long. @default 60 */
  patienceSeconds?: number;
}

export interface Ended {
  /** As in a shell, 128 and more for a signal. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  /** All that was printed so far. */
  readonly printed: { stdout: string; stderr: string };
  readonly ended: Promise<Ended>;
  /** Resolves once what is printed matches; rejects when the process ends before it does. */
  until(stream: "stdout" | "stderr", pattern: RegExp): Promise<RegExpExecArray>;
}

/** Runs it to its end. */
export function run(args: readonly string[], options?: RunOptions): Promise<Ended> {
  return start(args, options).ended;
}

export function start(args: readonly string[], options: RunOptions = {}): Running {
  const { command = viaNode, folder = root, env, input = "", unread = false, patienceSeconds = 60 } = options;
  const [program, ...before] = command;
  const child = spawn(program!, [...before, ...args], {
    cwd: folder,
    env: { ...cleanEnvironment(), ...env },
    detached: true, // a process group of its own, to be killed as a whole
  });
  const kill = () => void (child.exitCode ?? child.signalCode ?? process.kill(-child.pid!, "SIGKILL"));
  const patience = setTimeout(kill, patienceSeconds * 1000);
  process.once("exit", kill);
  const printed = { stdout: "", stderr: "" };
  const watchers = new Set<() => void>();
  for (const stream of unread ? (["stderr"] as const) : (["stdout", "stderr"] as const)) {
    child[stream].setEncoding("utf8").on("data", (text) => {
      printed[stream] += text;
      for (const watch of watchers) watch();
    });
  }
  child.stdin.on("error", () => {}); // it may end without reading
  if (input !== null) child.stdin.end(input);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status, signal) => {
      clearTimeout(patience);
      process.off("exit", kill);
      resolve({ status: status ?? 128 + constants.signals[signal!], ...printed });
    });
  });
  const until: Running["until"] = (stream, pattern) =>
    new Promise((resolve, reject) => {
      const watch = () => {
        const match = pattern.exec(printed[stream]);
        if (match) finish(() => resolve(match));
      };
      const finish = (then: () => void) => {
        watchers.delete(watch);
        then();
      };
      watchers.add(watch);
      watch();
      ended.then(
        () => finish(() => reject(new Error(`${pattern} was never printed: ${JSON.stringify(printed)}`))),
        reject,
      );
    });
  return { child, printed, ended, until };
}

/** Waits until it is so. */
export async function poll(isSo: () => Promise<boolean> | boolean, patienceSeconds = 60): Promise<void> {
  for (let tries = 0; !(await isSo()); tries++) {
    if (tries > patienceSeconds * 50) throw new Error(`It was never so: ${isSo}`);
    await sleep(20);
  }
}

function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:MYSQL_|NODE_TEST_CONTEXT|NODE_OPTIONS|CI$)/.test(name),
  );
  return { ...Object.fromEntries(kept), HOME: "/nonexistent" };
}

/** True if a process and its threads have ended, even if its parent has not noticed that. */
export function isGone(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return /^State:\tZ/m.test(status) && /^Threads:\t1$/m.test(status);
  } catch {
    return true;
  }
}
