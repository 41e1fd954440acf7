/** Processor time and memory of a tree of processes, from /proc. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** The tick of /proc's processor times, in seconds. */
const tickSeconds = 1 / configured("CLK_TCK");
const pageBytes = configured("PAGESIZE");

/** Returns the living descendants of a process, without the process itself. */
export function descendants(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

/** Returns the processor time, user and system, of these processes and of their ended children, in seconds. */
export function processorSeconds(pids: readonly number[]): number {
  return sum(pids, (pid) => {
    const stat = read(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // the process name before it may contain spaces and ")"
    return sum(fields.slice(11, 15), Number) * tickSeconds; // utime, stime, cutime, cstime
  });
}

/** Returns the resident memory in bytes. A shared page counts for each process. Costs about 20 µs a process. */
export function residentBytes(pids: readonly number[]): number {
  return sum(pids, (pid) => Number(read(`/proc/${pid}/statm`).split(" ")[1] ?? 0) * pageBytes);
}

/** Returns the proportional set size (PSS) in bytes. A shared page counts once in total. Costs about 15 ms a gigabyte. */
export function proportionalBytes(pids: readonly number[]): number {
  return sum(pids, (pid) => Number(/^Pss: +(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) * 1024);
}

/** True if this kernel reports PSS. */
export const hasProportional = proportionalBytes([process.pid]) > 0;

/** Returns the processor time of the whole machine, in seconds. */
export function machineSeconds(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = read("/proc/stat")
    .split("\n")[0]!
    .split(/ +/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq) * tickSeconds;
}

/** Kills a process and its descendants. Begins at the top, so that no parent starts another child. */
export function killTree(pid: number): void {
  const pids = [pid, ...descendants(pid)];
  for (const each of pids) {
    try {
      process.kill(each, "SIGKILL");
    } catch {
      // The process has ended already.
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
