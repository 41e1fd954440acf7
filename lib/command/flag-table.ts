/** All flags of the command, and what two of them mean together. */
import { limits } from "../parent/options.ts";
import { UsageError } from "./errors.ts";
import { batch, count, maxLoad, notEmpty, rate, seconds, shard } from "./flag-values.ts";
import { type Flag, type FlagTable, helpOf, readFlags } from "./flags.ts";

/** The groups of the help, with their headings. */
const groups: Readonly<Record<Flag["group"], string>> = {
  work: "Work",
  server: `Server; what is not given comes from MYSQL_HOST, MYSQL_TCP_PORT, MYSQL_UNIX_PORT, MYSQL_USER,
MYSQL_PWD, MYSQL_DATABASE or the [client] group of ~/.my.cnf`,
  failures: "Failures",
  resume: "Resume",
  gently: "Gently",
  output: "Output",
};

export const table = {
  workers: {
    letter: "j",
    value: "N",
    read: count(1, limits.workers),
    default: 4,
    group: "work",
    help: "queries at a time",
  },
  threads: {
    value: "N",
    read: count(1, limits.threads),
    group: "work",
    help: "worker threads that carry them (one a processor; half beside the server)",
  },
  batch: {
    value: "N",
    read: batch,
    default: 1 as number | "auto",
    group: "work",
    help: 'queries in one round trip; "auto": as many as take 5 ms, up to 64',
  },
  shard: { value: "I/N", read: shard, group: "work", help: "every N-th query only, beginning with the I-th" },
  "dry-run": { group: "work", help: "only print the queries, one a line with its seq; with --resume, as SQL" },
  url: { value: "mysql://user@host:3306/database", group: "server" },
  "defaults-file": { value: "F", group: "server", help: "(instead of ~/.my.cnf)" },
  host: { letter: "h", value: "H", group: "server" },
  port: { letter: "P", value: "N", group: "server" },
  socket: { letter: "S", value: "F", group: "server" },
  user: { letter: "u", value: "U", group: "server" },
  database: { letter: "D", value: "D", group: "server", help: "H may be several: db1,db2:3307,[::1]:3308" },
  "ssl-mode": { value: "MODE", group: "server", help: "DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY" },
  "ssl-ca": { value: "F", group: "server" },
  "ssl-cert": { value: "F", group: "server" },
  "ssl-key": { value: "F", group: "server", help: "certificates to trust; the client's own" },
  compress: { letter: "C", group: "server", help: "compress what is sent" },
  "local-infile": { group: "server", help: "let LOAD DATA LOCAL INFILE read the file that it names" },
  "init-command": { value: "SQL", repeats: true, group: "server", help: "run on every connection when it is made" },
  "connect-timeout": {
    value: "S",
    read: seconds,
    default: 60,
    group: "server",
    help: "how long to try to get a connection",
  },
  retries: {
    value: "N",
    read: count(0, limits.retries),
    default: 10,
    group: "failures",
    help: "how often a query is sent again after a deadlock and the like",
  },
  timeout: {
    value: "S",
    read: seconds,
    group: "failures",
    help: "a query that runs longer is interrupted, and has failed",
  },
  "max-failures": { value: "N", read: count(1), group: "failures", help: "start nothing more after so many" },
  idempotent: { group: "failures", help: "running a query twice is harmless: send again what may have run" },
  joblog: {
    value: "F",
    read: notEmpty,
    group: "resume",
    help: "write down what was released to the workers and what became of it",
  },
  resume: { group: "resume", help: "go on with the job log: what is done, failed or unknown is not run again" },
  "retry-failed": { group: "resume" },
  "retry-unknown": { group: "resume", help: "with --resume: but these are" },
  ledger: {
    value: "TABLE",
    read: notEmpty,
    group: "resume",
    help: "exactly once: each query commits with its row in TABLE, which is made",
  },
  rate: { value: "N", read: rate, group: "gently", help: "queries a second over all workers" },
  "max-load": {
    value: "VARIABLE=N,...",
    read: maxLoad,
    group: "gently",
    help: "pause while a status variable of the server is above N",
  },
  "max-lag": { value: "S", read: seconds, group: "gently" },
  replicas: { value: "H,...", group: "gently", help: "pause while a replica is further behind" },
  heartbeat: {
    value: "TABLE",
    group: "gently",
    help: "with --max-lag: told by pt-heartbeat's table, not by SHOW REPLICA STATUS",
  },
  control: {
    value: "SOCKET",
    read: notEmpty,
    group: "gently",
    help: "changes the run while it goes on: a line such as status, pause, rate 200",
  },
  rows: { group: "output", help: 'rows on stdout, as NDJSON: {"seq":12,"row":{...}}' },
  json: { group: "output", help: "the summary on stdout, as one line of JSON, after the rows" },
  quiet: { letter: "q", group: "output", help: "no bar, and a summary only when something went wrong" },
  help: { group: "output" },
  version: { group: "output", help: "" },
} as const satisfies FlagTable;

export type Flags = ReturnType<typeof parseFlags>;

/** @throws UsageError that says in one line what is wrong and what would be right. */
export function parseFlags(args: readonly string[]) {
  const flags = readFlags(table, args);
  if (flags.threads !== undefined && flags.threads > flags.workers) {
    throw new UsageError(
      `--threads ${flags.threads} contradicts --workers ${flags.workers}: at most one thread a worker`,
    );
  }
  if (flags.dryRun && (flags.rows || flags.json)) {
    throw new UsageError(`--${flags.rows ? "rows" : "json"} contradicts --dry-run, which runs nothing`);
  }
  if (flags.resume && flags.joblog === undefined) throw new UsageError("--resume needs a job log: --joblog FILE");
  if ((flags.retryFailed || flags.retryUnknown) && !flags.resume) {
    throw new UsageError(`--retry-${flags.retryFailed ? "failed" : "unknown"} goes with --resume`);
  }
  if (flags.maxLag !== undefined && flags.replicas === undefined)
    throw new UsageError("--max-lag needs to know the replicas: --replicas db2,db3:3307");
  if (flags.heartbeat !== undefined && flags.replicas === undefined)
    throw new UsageError("--heartbeat goes with --replicas and --max-lag SECONDS");
  // With a socket, the limit may come later.
  if (flags.replicas !== undefined && flags.maxLag === undefined && flags.control === undefined)
    throw new UsageError("--replicas goes with --max-lag SECONDS");
  if (flags.files.filter((file) => file === "-").length > 1)
    throw new UsageError('Standard input, "-", can be read only once');
  return flags;
}

/** What `--help` prints. */
export function help(): string {
  const parts = Object.entries(groups).map(([group, title]) => `${title}\n${helpOf(table, group)}`);
  return `Usage: myscript.ts [options] [file.sql ...]     "-" is standard input; without files: buildQueries()

${parts.join("\n\n")}

Exit status: 0 every query done; 1 some failed or were skipped; 2 usage, configuration or no server;
3 some are unknown: they may have run; 129, 130 and 143 after a signal. Ctrl-C lets what is in
flight end; twice interrupts it.`;
}
