/** Runs myscript.ts in a process of its own, with a time limit. `command.ts` runs it in the tests' process, which is cheaper. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import "./target.ts"; // puts the programs of TEST_SERVER on the PATH of the child, too

export const root = fileURLToPath(new URL("..", import.meta.url));
const readsTypeScript = Boolean((process.features as { typescript?: unknown }).typescript);
/** The command that runs a TypeScript file on the runtime of the tests. It has tsx if the runtime cannot read TypeScript. */
export const runtime = [process.execPath, ...(readsTypeScript ? [] : ["--import", "tsx"])];
/** The two ways to start the script. With `viaTsx`, the tsx process is the parent of the script's process. */
export const viaNode = [...runtime, "myscript.ts"];
export const viaTsx = ["node_modules/.bin/tsx", "myscript.ts"];

// start() kills its processes on "exit". A signal must lead there, too.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

export interface RunOptions {
  /** The program and its first arguments. @default viaNode */
  command?: readonly string[];
  /** The working directory. @default the project's root */
  folder?: string;
  /** Added to the environment of the tests without MYSQL_*, and with a HOME that has no option file. */
  env?: NodeJS.ProcessEnv;
  /** Standard input. `null` leaves it open. @default empty */
  input?: string | Uint8Array | null;
  /** If true, only the test reads stdout. @default false */
  unread?: boolean;
  /** Time limit in seconds, after which all processes of the run are killed. @default 60 */
  patienceSeconds?: number;
}

export interface Ended {
  /** The exit status. After a signal, 128 plus its number, as in a shell. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  /** The output so far. */
  readonly printed: { stdout: string; stderr: string };
  readonly ended: Promise<Ended>;
  /** Resolves when the output matches. Rejects if the process ends first. */
  until(stream: "stdout" | "stderr", pattern: RegExp): Promise<RegExpExecArray>;
}

/** Runs a command to its end. */
export function run(args: readonly string[], options?: RunOptions): Promise<Ended> {
  return start(args, options).ended;
}

/** Starts a command and does not wait for its end. */
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
  child.stdin.on("error", () => {}); // EPIPE: the process may end without reading its input
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

/** Waits until the condition is true. @throws Error after the time limit. */
export async function poll(isTrue: () => Promise<boolean> | boolean, patienceSeconds = 60): Promise<void> {
  for (let tries = 0; !(await isTrue()); tries++) {
    if (tries > patienceSeconds * 50) throw new Error(`This never became true: ${isTrue}`);
    await sleep(20);
  }
}

function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:MYSQL_|NODE_TEST_CONTEXT|NODE_OPTIONS|CI$)/.test(name),
  );
  return { ...Object.fromEntries(kept), HOME: "/nonexistent" };
}

/** True if a process and all of its threads have ended. A zombie counts as ended. */
export function isGone(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return /^State:\tZ/m.test(status) && /^Threads:\t1$/m.test(status);
  } catch {
    return true;
  }
}
