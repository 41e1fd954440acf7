/** What a tree of processes uses, read from /proc: the same way for a script, its children, or a pool of processes. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Seconds of one tick in which /proc counts processor time. */
const tickSeconds = 1 / configured("CLK_TCK");
const pageBytes = configured("PAGESIZE");

/** The descendants of a process that are alive, without the process itself. */
export function descendants(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

/** Seconds of processor time, user and system, of these processes and of those of their children that have ended. */
export function processorSeconds(pids: readonly number[]): number {
  return sum(pids, (pid) => {
    const stat = read(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // the name before may contain anything
    return sum(fields.slice(11, 15), Number) * tickSeconds; // utime, stime, cutime, cstime
  });
}

/** Bytes of resident memory; pages that processes share count once for each. Costs some 20 µs a process. */
export function residentBytes(pids: readonly number[]): number {
  return sum(pids, (pid) => Number(read(`/proc/${pid}/statm`).split(" ")[1] ?? 0) * pageBytes);
}

/** Bytes of memory, a shared page divided among those who share it (PSS). Costs some 15 ms a gigabyte. */
export function proportionalBytes(pids: readonly number[]): number {
  return sum(pids, (pid) => Number(/^Pss: +(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) * 1024);
}

/** Whether this kernel tells PSS. */
export const hasProportional = proportionalBytes([process.pid]) > 0;

/** Seconds of processor time that the whole machine has spent, on whatever. */
export function machineSeconds(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = read("/proc/stat")
    .split("\n")[0]!
    .split(/ +/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq) * tickSeconds;
}

/** Ends a process and its descendants, from the top so that none starts another. */
export function killTree(pid: number): void {
  const pids = [pid, ...descendants(pid)];
  for (const each of pids) {
    try {
      process.kill(each, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
}

function configured(name: string): number {
  return Number(execFileSync("getconf", [name]));
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // the process has ended
  }
}

function sum<Value>(values: readonly Value[], amount: (value: Value) => number): number {
  return values.reduce((total, value) => total + (amount(value) || 0), 0);
}
