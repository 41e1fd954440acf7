/**
 * Runs one contestant and measures it from outside, in the same way for all contestants.
 *
 * - Wall time and processor time of the whole run come from bash's `time`: from exec to exit, user and system, with all
 *   children that were waited for.
 * - Ten times a second, a sample is taken: the server's count of queries, and the processor time from /proc. The work phase lies
 *   between the first sample at 5 % or more of the queries and the last one at 95 % or less. It leaves out start and end. More
 *   samples would disturb the run, because client and server use both of two processors.
 * - Memory is PSS, which counts a shared page once. Reading PSS is slow. So it is read once a second, and when the resident
 *   memory, which is cheap to read, has grown by 2 %.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import type { Contestant } from "./contestants.ts";
import {
  descendants,
  hasProportional,
  killTree,
  machineSeconds,
  processorSeconds,
  proportionalBytes,
  residentBytes,
} from "./process-tree.ts";
import { type Server, takeReady } from "./server.ts";

/** The figures of one run. If the work counts rows, `perSecond` and `cpuMicroseconds` are those of a row, not of a query. */
export interface Run {
  /** From exec to exit. */
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  readonly perSecond: number;
  readonly cpuMicroseconds: number;
  /** The same in the work phase only. Undefined if the phase was too short. */
  readonly phase: { readonly perSecond: number; readonly cpuMicroseconds: number } | undefined;
  readonly peakBytes: number;
  readonly memory: readonly { readonly seconds: number; readonly bytes: number }[];
  /** From exec until every worker had begun a query. Undefined unless the task has `showsReady`. */
  readonly readySeconds: number | undefined;
  /** The number of processors that other processes used, on average. */
  readonly foreignProcessors: number;
}

interface Sample {
  readonly seconds: number;
  readonly count: number;
  readonly cpuSeconds: number;
}

const [phaseStart, phaseEnd] = [0.05, 0.95];
const countSeconds = 0.1;
/** The shortest work phase that is measured. */
const phaseSeconds = 0.3;
/** The rounding error of a sum of a few tick counts. */
const roundingSeconds = 0.04;
const limitSeconds = 900;

/** Waits until the machine, the server included, is nearly idle for 200 ms. Gives up after 20 seconds. */
export async function quiet(): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const before = machineSeconds();
    await sleep(200);
    if (machineSeconds() - before < 0.2 * 0.2) return;
  }
}

let running: number | undefined;

/** Kills the contestant that is being measured. */
export function killRunning(): void {
  if (running !== undefined) killTree(running);
}

/**
 * Runs a contestant once.
 *
 * @throws Error with the end of its stderr if it fails or has not run all queries.
 */
export async function measure(contestant: Contestant, server: Server): Promise<Run> {
  const countBefore = await server.status(contestant.counter);
  const before = { machine: machineSeconds(), server: processorSeconds([server.pid]), self: selfSeconds() };
  const startedAt = performance.now();
  const child = spawn("bash", ["-c", timed, "bash", ...contestant.command], {
    env: { ...process.env, MYSQL_UNIX_PORT: server.socketPath },
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  const pid = child.pid!;
  running = pid;
  const exited = once(child, "exit") as Promise<[number | null]>;
  const output = Promise.all([text(child.stderr!), text(child.stdio[3] as NodeJS.ReadableStream)]);
  const sampler = sample(pid, startedAt, async () => (await server.status(contestant.counter)) - countBefore);
  const killer = setTimeout(() => killTree(pid), limitSeconds * 1000);
  const [status] = await exited;
  clearTimeout(killer);
  running = undefined;
  const { samples, memory } = await sampler.stop();
  const [errors, times] = await output;
  const ran = (await server.status(contestant.counter)) - countBefore;
  if (status !== 0 || ran < contestant.count) {
    throw new Error(`exit status ${status}, ${ran} of ${contestant.count} queries: ${errors.trim().slice(-500)}`);
  }

  const [epoch = 0, wallSeconds = 0, user = 0, system = 0] = times.trim().split(/\s+/).map(Number);
  const others = machineSeconds() - before.machine - (processorSeconds([server.pid]) - before.server);
  const own = user + system + selfSeconds() - before.self;
  const queries = contestant.count * (contestant.rowsAQuery ?? 1);
  const readyAt = contestant.showsReady ? await takeReady(server, contestant.workers) : undefined;
  return {
    wallSeconds,
    cpuSeconds: user + system,
    perSecond: queries / wallSeconds,
    cpuMicroseconds: ((user + system) / queries) * 1e6,
    phase: phaseOf(samples, contestant.count, contestant.rowsAQuery ?? 1),
    peakBytes: Math.max(0, ...memory.map(({ bytes }) => bytes)),
    memory,
    readySeconds: readyAt === undefined ? undefined : readyAt - epoch,
    foreignProcessors: Math.max(0, (others - own - roundingSeconds) / wallSeconds),
  };
}

/** A bash script that runs its arguments as a command. Prints the start time and the times used on descriptor 3. */
export const timed = `
exec 4>&2 2>&3
TIMEFORMAT='%3R %3U %3S'
echo "$EPOCHREALTIME" >&2
time "$@" 2>&4 3>&- 4>&-
`;

/** Takes samples of the descendants of `pid` and of the server until `stop()`. */
function sample(pid: number, startedAt: number, count: () => Promise<number>) {
  const samples: Sample[] = [];
  const memory: { seconds: number; bytes: number }[] = [];
  let stopped = false;
  let highest = 0;
  const loop = look();
  return {
    async stop() {
      stopped = true;
      await loop;
      return { samples, memory };
    },
  };

  async function look(): Promise<void> {
    for (let seconds = 0; !stopped; seconds = (performance.now() - startedAt) / 1000) {
      if (seconds - (samples.at(-1)?.seconds ?? 0) >= countSeconds) await lookAtServer();
      lookAtMemory(seconds);
      await sleep(seconds < 1 ? 20 : 50);
    }
  }

  async function lookAtServer(): Promise<void> {
    const begun = await count();
    const seconds = (performance.now() - startedAt) / 1000;
    samples.push({ seconds, count: begun, cpuSeconds: processorSeconds([pid, ...descendants(pid)]) });
  }

  function lookAtMemory(seconds: number): void {
    const pids = descendants(pid);
    const resident = residentBytes(pids);
    if (resident <= highest * 1.02 && seconds - (memory.at(-1)?.seconds ?? 0) < 1) return;
    highest = Math.max(highest, resident);
    memory.push({ seconds, bytes: hasProportional ? proportionalBytes(pids) : resident });
  }
}

function phaseOf(samples: readonly Sample[], count: number, rowsAQuery: number): Run["phase"] {
  const start = samples.find((each) => each.count >= count * phaseStart);
  const end = samples.findLast((each) => each.count <= count * phaseEnd);
  if (count < 100 || !start || !end || end.seconds - start.seconds < phaseSeconds) return undefined;
  const queries = (end.count - start.count) * rowsAQuery;
  return {
    perSecond: queries / (end.seconds - start.seconds),
    cpuMicroseconds: ((end.cpuSeconds - start.cpuSeconds) / queries) * 1e6,
  };
}

function selfSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
