/** Who runs the work: this project and its peers, each as its own documentation would have it. */
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { pathOf, type Runtime } from "./runtime.ts";

/** What is to be done. */
export interface Task {
  /** The query; `{}` stands for a primary key of `myscript_orders`. */
  readonly sql: string;
  readonly count: number;
  /** The server's counter of such queries. */
  readonly counter: string;
  /** How many queries at a time: workers, threads, processes or connections, whatever the contestant calls them. */
  readonly workers: number;
  /** Where the server listens. */
  readonly socketPath: string;
  /** For files that contestants read. */
  readonly directory: string;
  /** Rows that each query returns, where the work is about rows. */
  readonly rowsAQuery?: number;
  /** Whether the queries say when each worker was ready. */
  readonly showsReady?: boolean;
}

export interface Contestant extends Task {
  readonly name: string;
  readonly command: readonly string[];
  /** Says why it has to be left out. */
  readonly missing?: () => string | undefined;
}

export interface Settings {
  readonly threads?: number;
  readonly batch?: number | "auto";
}

/** This project. */
export function myscript(task: Task, runtime: Runtime, { threads, batch }: Settings = {}): Contestant {
  const settings = [threads && counted(threads, "thread"), batch && `batch ${batch}`].filter(Boolean);
  const words = [task.sql, task.count, task.workers, threads ?? "", batch ?? ""].map(String);
  return {
    ...task,
    name: ["myscript", ...settings, runtime.name].join(", "),
    command: [...runtime.typescript, peer("myscript.ts"), ...words],
  };
}

/** This project's command, writing the rows of the queries in a file. */
export function myscriptRows(task: Task, runtime: Runtime, threads: number, file: string): Contestant {
  const server = ["-S", task.socketPath, "-u", "root", "-D", "myscript"];
  const command = [...runtime.typescript, pathOf("myscript.ts"), ...server, "--rows", "-j", `${task.workers}`];
  return {
    ...task,
    name: `myscript --rows, ${counted(threads, "thread")}, ${runtime.name}`,
    command: [...command, "--threads", `${threads}`, file],
  };
}

/** This project's command, reading the queries from a file. `$$` in its flags is a number that each run has for itself. */
export function myscriptCommand(task: Task, runtime: Runtime, flags = ""): Contestant {
  const command = [...runtime.typescript, pathOf("myscript.ts"), "-S", task.socketPath, "-u", "root", "-D", "myscript"];
  const words = [...command, "-q", "-j", `${task.workers}`, lines(task)];
  const name = `myscript ${flags.split(" ")[0]}`.trimEnd();
  return { ...task, name: `${name}, ${runtime.name}`, command: ["sh", "-c", `exec "$@" ${flags}`, "sh", ...words] };
}

/** The Python original. */
export function original(task: Task): Contestant {
  const python = "/usr/bin/python3"; // Debian's, which sees Debian's packages
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

/** One thread with a pool of mysql2. */
export const oneThread = (task: Task, runtime: Runtime) =>
  javascript(task, runtime, `mysql2 pool of ${task.workers}, 1 thread`, "one-thread.js");

/** One thread with mysql2's callbacks: the thinnest loop there is. */
export const callbacks = (task: Task, runtime: Runtime) => javascript(task, runtime, loopName, "callbacks.js");
export const loopName = "mysql2 callbacks, 1 thread";

/** Plain JavaScript workers that load mysql2. */
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

/** One thread with a pool of mysql2, writing the rows of the queries in a file. */
export function oneThreadRows(task: Task, runtime: Runtime, file: string): Contestant {
  const name = `mysql2 pool of ${task.workers}, 1 thread, ${runtime.version}`;
  return { ...task, name, command: [runtime.node, peer("one-thread-rows.js"), file, `${task.workers}`] };
}

/** GNU parallel, which gives each of its `mariadb` clients a block of lines. */
export function parallel(task: Task): Contestant {
  const name = `GNU parallel, ${task.workers} mariadb clients`;
  const command = [peer("parallel.sh"), lines(task), `${task.workers}`];
  return { ...task, name, command, missing: needs("parallel", "mariadb") };
}

/** `split`, and a `mariadb` client for each part. */
export function split(task: Task): Contestant {
  const command = [peer("split.sh"), lines(task), `${task.workers}`];
  return { ...task, name: `split, ${task.workers} mariadb clients`, command, missing: needs("mariadb") };
}

/** One `mariadb` client, writing the rows of the queries in a file. */
export function clientRows(task: Task, file: string): Contestant {
  const command = ["sh", "-c", 'exec mariadb --no-defaults -u root --quick -B myscript < "$0"', file];
  return { ...task, name: "mariadb --quick -B", command, missing: needs("mariadb") };
}

/** The load generator in C. Each of its clients runs the same queries, from the first one on. */
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

/** Writes a file, unless it is there. */
export function textFile(directory: string, name: string, content: string): string {
  const path = join(directory, name);
  if (!existsSync(path)) writeFileSync(path, content);
  return path;
}

/** The queries of a task, one a line. */
function lines({ sql, count, directory }: Task): string {
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

/** What a command prints, or `undefined` when it fails. */
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
