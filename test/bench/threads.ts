/**
 * Measures whether the default number of threads is right: three works, on one processor and on two, with one thread, with two, and
 * by default. A work that has two processors shares them with the server, as this machine has no more.
 */
import { execFileSync } from "node:child_process";
import { lines, type Task } from "./contestants.ts";
import { measure, quiet, type Run } from "./measure.ts";
import { here, pathOf } from "./runtime.ts";
import { createRows, type Server } from "./server.ts";
import { spread } from "./statistics.ts";

interface Cell {
  readonly title: string;
  /** The processors of the script and of the server, as for `taskset`. */
  readonly processors: readonly [own: string, server: string];
  readonly task: Task;
  readonly words: readonly string[];
  readonly script?: string;
  readonly env?: string;
}

const numbers = ["", "1", "2"] as const;

/** Runs each work with each number of threads in turns, and returns a table. */
export async function threadsTable(server: Server, directory: string, rounds: number, scale: number): Promise<string> {
  const rows = 100_000;
  await createRows(server, rows);
  const place = { socketPath: server.socketPath, directory, workers: 4 };
  const count = (most: number) => Math.ceil(most * scale);
  const select = "SELECT id, quantity, price, total FROM myscript_orders WHERE id = {}";
  const tiny: Task = { ...place, sql: select, count: count(60_000), counter: "Com_select" };
  const many: Task = { ...place, sql: "SELECT * FROM bench_rows", count: count(40), counter: "Com_select" };
  const units: Task = { ...place, sql: "DO 0", count: count(4000), counter: "Com_do" };
  // The address is that of the server on this machine, in a form that is not taken for one.
  const elsewhere = ["-h", "::ffff:127.0.0.1", "-P", `${server.port}`, "--ssl-mode", "DISABLED", "--rows"];
  const here = ["-S", server.socketPath];
  const works = [
    { title: "SELECTs by key from a file, the server here", task: tiny, words: [...here, "-q", lines(tiny)] },
    { title: "rows, the server elsewhere", task: many, words: [...elsewhere, lines(many)] },
    { title: "a workerDo() that computes", task: units, words: [...here, "-q"], script: "test/bench/peers/compute.ts" },
  ];
  const cells = works.flatMap((work): Cell[] => [
    { ...work, title: `${work.title}; 1 processor`, processors: ["0", work.task === many ? "1" : "0"] },
    { ...work, title: `${work.title}; 2 processors`, processors: ["0,1", "0,1"] },
  ]);
  const table: string[] = [];
  for (const cell of cells) {
    pin(server.pid, cell.processors[1]);
    const runs = new Map<string, Run[]>(numbers.map((threads) => [threads, []]));
    for (let round = 0; round <= rounds; round++) {
      for (const threads of numbers) {
        await quiet();
        const run = await measure({ ...cell.task, name: cell.title, command: commandOf(cell, threads) }, server);
        if (round > 0) runs.get(threads)!.push(run); // the first round fills the caches
      }
    }
    table.push(rowOf(cell.title, runs));
    console.error(table.at(-1));
  }
  const heads = ["wall s: 1, 2 threads, default", "processor s: the same", "default / best: wall, processor"];
  return [["".padEnd(62), ...heads.map((head) => head.padEnd(34))].join(""), ...table].join("\n");
}

function commandOf({ processors, task, words, script = "myscript.ts" }: Cell, threads: string): string[] {
  const start = ["env", `UNITS=${task.count}`, "taskset", "-c", processors[0], ...here.typescript, pathOf(script)];
  return [
    ...start,
    "-u",
    "root",
    "-D",
    "myscript",
    "-j",
    `${task.workers}`,
    ...(threads ? ["--threads", threads] : []),
    ...words,
  ];
}

/** Binds all threads of a process to these processors. */
function pin(pid: number, processors: string): void {
  execFileSync("taskset", ["-a", "-c", "-p", processors, `${pid}`]);
}

function rowOf(title: string, runs: ReadonlyMap<string, readonly Run[]>): string {
  const middle = (threads: string, figure: (run: Run) => number) => spread(runs.get(threads)!.map(figure))!.median;
  const figures = [({ wallSeconds }: Run) => wallSeconds, (run: Run) => run.cpuSeconds];
  const times = figures.map((figure) => ["1", "2", ""].map((threads) => middle(threads, figure)));
  const ratios = times.map(([one, two, byDefault]) => (byDefault! / Math.min(one!, two!)).toFixed(2));
  const cells = [...times.map((each) => each.map((seconds) => seconds.toFixed(2)).join("  ")), ratios.join("  ")];
  return [title.padEnd(62), ...cells.map((cell) => cell.padEnd(34))].join("").trimEnd();
}
