/** The contestants: this project and its peers. Each peer is used as its own documentation says. */
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { pathOf, type Runtime } from "./runtime.ts";

/** The queries that a contestant runs, and the server for them. */
export interface Task {
  /** The query; `{}` stands for a primary key of `myscript_orders`. */
  readonly sql: string;
  readonly count: number;
  /** The server's status variable that counts such queries. */
  readonly counter: string;
  /** Queries at a time: the number of workers, threads, processes or connections. */
  readonly workers: number;
  /** The server's socket. */
  readonly socketPath: string;
  /** The folder for files that contestants read. */
  readonly directory: string;
  /** Rows that each query returns. Set if the work counts rows. */
  readonly rowsAQuery?: number;
  /** True if the queries are `readyQuery`, which records when each worker was ready. */
  readonly showsReady?: boolean;
}

export interface Contestant extends Task {
  readonly name: string;
  readonly command: readonly string[];
  /** Returns the reason why this contestant cannot run, or undefined. */
  readonly missing?: () => string | undefined;
}

export interface Settings {
  readonly threads?: number;
  readonly batch?: number | "auto";
}

/** This project's `doWork()` with a generator. */
export function myscript(task: Task, runtime: Runtime, { threads, batch }: Settings = {}): Contestant {
  const settings = [threads && counted(threads, "thread"), batch && `batch ${batch}`].filter(Boolean);
  const words = [task.sql, task.count, task.workers, threads ?? "", batch ?? ""].map(String);
  return {
    ...task,
    name: ["myscript", ...settings, runtime.name].join(", "),
    command: [...runtime.typescript, peer("myscript.ts"), ...words],
  };
}

/** This project's command with `--rows` and the queries of a file. */
export function myscriptRows(task: Task, runtime: Runtime, threads: number, file: string): Contestant {
  const server = ["-S", task.socketPath, "-u", "root", "-D", "myscript"];
  const command = [...runtime.typescript, pathOf("myscript.ts"), ...server, "--rows", "-j", `${task.workers}`];
  return {
    ...task,
    name: `myscript --rows, ${counted(threads, "thread")}, ${runtime.name}`,
    command: [...command, "--threads", `${threads}`, file],
  };
}

/** This project's command with the queries of a file. `$$` in its flags becomes the process id, which differs in each run. */
export function myscriptCommand(task: Task, runtime: Runtime, flags = ""): Contestant {
  const command = [...runtime.typescript, pathOf("myscript.ts"), "-S", task.socketPath, "-u", "root", "-D", "myscript"];
  const words = [...command, "-q", "-j", `${task.workers}`, lines(task)];
  const name = `myscript ${flags.split(" ")[0]}`.trimEnd();
  return { ...task, name: `${name}, ${runtime.name}`, command: ["sh", "-c", `exec "$@" ${flags}`, "sh", ...words] };
}

/** The Python original. */
export function original(task: Task): Contestant {
  const python = "/usr/bin/python3"; // only Debian's Python finds Debian's python3-mysqldb
  return {
    ...task,
    name: `Python original, ${task.workers} processes`,
    command: [python, peer("original.py"), task.sql, `${task.count}`, `${task.workers}`],
    missing: () => (output([python, "-c", "import MySQLdb"]) === undefined ? install("python3-mysqldb") : undefined),
  };
}

export const piscina = (task: Task, runtime: Runtime) =>
  javascript(task, runtime, `Piscina, ${task.workers} threads`, "piscina.js", "piscina");

export const tinypool = (task: Task, runtime: Runtime) =>
  javascript(task, runtime, `Tinypool, ${task.workers} threads`, "tinypool.js", "tinypool");

/** One thread with mysql2's pool. */
export const oneThread = (task: Task, runtime: Runtime) =>
  javascript(task, runtime, `mysql2 pool of ${task.workers}, 1 thread`, "one-thread.js");

/** One thread with mysql2's callbacks and no pool: the least overhead that mysql2 allows. */
export const callbacks = (task: Task, runtime: Runtime) => javascript(task, runtime, loopName, "callbacks.js");
export const loopName = "mysql2 callbacks, 1 thread";

/** Worker threads in plain JavaScript, with mysql2. */
export const plain = (task: Task, runtime: Runtime) =>
  javascript(task, runtime, `plain JavaScript, ${task.workers} threads`, "plain.js");

function javascript(task: Task, runtime: Runtime, name: string, file: string, dependency?: string): Contestant {
  const isThere = dependency === undefined || existsSync(pathOf(`node_modules/${dependency}`));
  return {
    ...task,
    name: `${name}, ${runtime.version}`,
    command: [runtime.node, peer(file), task.sql, `${task.count}`, `${task.workers}`],
    missing: () => (isThere ? undefined : "install it with: npm ci"),
  };
}

/** One thread with mysql2's pool, which prints the rows of the queries of a file. */
export function oneThreadRows(task: Task, runtime: Runtime, file: string): Contestant {
  const name = `mysql2 pool of ${task.workers}, 1 thread, ${runtime.version}`;
  return { ...task, name, command: [runtime.node, peer("one-thread-rows.js"), file, `${task.workers}`] };
}

/** GNU parallel, with a block of lines for each `mariadb` client. */
export function parallel(task: Task): Contestant {
  const name = `GNU parallel, ${task.workers} mariadb clients`;
  const command = [peer("parallel.sh"), lines(task), `${task.workers}`];
  return { ...task, name, command, missing: needs("parallel", "mariadb") };
}

/** `split`, with a `mariadb` client for each part. */
export function split(task: Task): Contestant {
  const command = [peer("split.sh"), lines(task), `${task.workers}`];
  return { ...task, name: `split, ${task.workers} mariadb clients`, command, missing: needs("mariadb") };
}

/** One `mariadb` client, which prints the rows of the queries of a file. */
export function clientRows(task: Task, file: string): Contestant {
  const command = ["sh", "-c", 'exec mariadb --no-defaults -u root --quick -B myscript < "$0"', file];
  return { ...task, name: "mariadb --quick -B", command, missing: needs("mariadb") };
}

/** `mariadb-slap`, a load generator in C. All of its clients run the same queries in the same order. */
export function slap(task: Task): Contestant {
  const options = [
    "-u",
    "root",
    "--create-schema=myscript",
    "--no-drop",
    "--silent",
    "--delimiter=;",
    "--iterations=1",
  ];
  const load = [`--concurrency=${task.workers}`, `--number-of-queries=${task.count}`, `--query=${lines(task)}`];
  const command = ["mariadb-slap", "--no-defaults", ...options, ...load];
  return { ...task, name: `mariadb-slap, ${task.workers} clients`, command, missing: needs("mariadb-slap") };
}

/** Writes a file unless it exists. Returns its path. */
export function textFile(directory: string, name: string, content: string): string {
  const path = join(directory, name);
  if (!existsSync(path)) writeFileSync(path, content);
  return path;
}

/** Writes the queries of a task to a file, one a line. Returns its path. */
export function lines({ sql, count, directory }: Task): string {
  const key = (i: number) => String(1 + ((i * 7919) % 200_000));
  const all = Array.from({ length: count }, (_, i) => `${sql.replace("{}", key(i))};\n`);
  return textFile(directory, `${sql.slice(0, 6)}-${count}.sql`, all.join(""));
}

function peer(file: string): string {
  return pathOf(`test/bench/peers/${file}`);
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Returns a command's stdout, or undefined if it fails. */
function output([program = "", ...words]: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(program, words, { encoding: "utf8", timeout: 30_000 });
  return status === 0 ? stdout : undefined;
}

const packages = { parallel: "parallel", mariadb: "mariadb-client", "mariadb-slap": "mariadb-client" } as const;

function needs(...programs: (keyof typeof packages)[]): () => string | undefined {
  const directories = (process.env.PATH ?? "").split(delimiter);
  const absent = programs.filter((program) => !directories.some((each) => existsSync(join(each, program))));
  return () => (absent.length > 0 ? install(...new Set(absent.map((program) => packages[program]))) : undefined);
}

function install(...names: string[]): string {
  return `install it with: apt-get install -y ${names.join(" ")}`;
}
