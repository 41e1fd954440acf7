/** The command line: what may stand on it, and what it means. */
import { parseArgs } from "node:util";
import { limits } from "../parent/options.ts";
import type { ServerFlags } from "./config.ts";
import { UsageError } from "./errors.ts";
import { batch, count, maxLoad, rate, seconds, shard } from "./flag-values.ts";
import type { LoadLimit } from "./gates.ts";

/** What `parseArgs()` takes; help.ts tells what each is for. */
export const options = {
  workers: { type: "string", short: "j" },
  threads: { type: "string" },
  batch: { type: "string" },
  shard: { type: "string" },
  "dry-run": { type: "boolean" },
  url: { type: "string" },
  "defaults-file": { type: "string" },
  host: { type: "string", short: "h" },
  port: { type: "string", short: "P" },
  socket: { type: "string", short: "S" },
  user: { type: "string", short: "u" },
  database: { type: "string", short: "D" },
  "ssl-mode": { type: "string" },
  "ssl-ca": { type: "string" },
  "ssl-cert": { type: "string" },
  "ssl-key": { type: "string" },
  compress: { type: "boolean", short: "C" },
  "local-infile": { type: "boolean" },
  "init-command": { type: "string", multiple: true },
  "connect-timeout": { type: "string" },
  retries: { type: "string" },
  timeout: { type: "string" },
  "max-failures": { type: "string" },
  idempotent: { type: "boolean" },
  joblog: { type: "string" },
  ledger: { type: "string" },
  resume: { type: "boolean" },
  "retry-failed": { type: "boolean" },
  "retry-unknown": { type: "boolean" },
  rate: { type: "string" },
  "max-load": { type: "string" },
  "max-lag": { type: "string" },
  replicas: { type: "string" },
  heartbeat: { type: "string" },
  control: { type: "string" },
  rows: { type: "boolean" },
  json: { type: "boolean" },
  quiet: { type: "boolean", short: "q" },
  help: { type: "boolean" },
  version: { type: "boolean" },
} as const;

/** What the command line says, checked. */
export interface Flags {
  readonly files: readonly string[];
  readonly server: ServerFlags;
  readonly workers: number;
  readonly threads: number | undefined;
  readonly batch: number | "auto";
  readonly shard: { readonly index: number; readonly count: number } | undefined;
  readonly dryRun: boolean;
  readonly initCommands: readonly string[];
  readonly connectTimeoutSeconds: number;
  readonly retries: number;
  readonly timeoutSeconds: number | undefined;
  readonly maxFailures: number | undefined;
  readonly idempotent: boolean;
  readonly joblog: string | undefined;
  readonly ledger: string | undefined;
  readonly resume: boolean;
  readonly retryFailed: boolean;
  readonly retryUnknown: boolean;
  readonly rate: number | undefined;
  readonly maxLoad: readonly LoadLimit[];
  readonly maxLagSeconds: number | undefined;
  readonly heartbeat: string | undefined;
  readonly control: string | undefined;
  readonly rows: boolean;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly help: boolean;
  readonly version: boolean;
}

/** @throws UsageError that says in one line what is wrong and what would be right. */
export function parseFlags(args: readonly string[]): Flags {
  const { values, positionals: files } = parse(args);
  const flags: Flags = {
    files,
    server: values,
    workers: count("workers", values.workers, 1, limits.workers) ?? 4,
    threads: count("threads", values.threads, 1, limits.threads),
    batch: batch(values.batch) ?? 1,
    shard: shard(values.shard),
    dryRun: values["dry-run"] ?? false,
    initCommands: values["init-command"] ?? [],
    connectTimeoutSeconds: seconds("connect-timeout", values["connect-timeout"]) ?? 60,
    retries: count("retries", values.retries, 0, limits.retries) ?? 10,
    timeoutSeconds: seconds("timeout", values.timeout),
    maxFailures: count("max-failures", values["max-failures"], 1),
    idempotent: values.idempotent ?? false,
    joblog: values.joblog,
    ledger: values.ledger,
    resume: values.resume ?? false,
    retryFailed: values["retry-failed"] ?? false,
    retryUnknown: values["retry-unknown"] ?? false,
    rate: rate(values.rate),
    maxLoad: maxLoad(values["max-load"]),
    maxLagSeconds: seconds("max-lag", values["max-lag"]),
    heartbeat: values.heartbeat,
    control: values.control,
    rows: values.rows ?? false,
    json: values.json ?? false,
    quiet: values.quiet ?? false,
    help: values.help ?? false,
    version: values.version ?? false,
  };
  if (flags.threads !== undefined && flags.threads > flags.workers) {
    throw new UsageError(
      `--threads ${flags.threads} contradicts --workers ${flags.workers}: at most one thread a worker`,
    );
  }
  if (flags.dryRun && (flags.rows || flags.json)) {
    throw new UsageError(`--${flags.rows ? "rows" : "json"} contradicts --dry-run, which runs nothing`);
  }
  if (flags.ledger === "") throw new UsageError("--ledger must not be empty");
  if (flags.joblog === "") throw new UsageError("--joblog must not be empty");
  if (flags.resume && flags.joblog === undefined) throw new UsageError("--resume needs a job log: --joblog FILE");
  if ((flags.retryFailed || flags.retryUnknown) && !flags.resume) {
    throw new UsageError(`--retry-${flags.retryFailed ? "failed" : "unknown"} goes with --resume`);
  }
  checkGates(flags);
  if (files.filter((file) => file === "-").length > 1)
    throw new UsageError('Standard input, "-", can be read only once');
  return flags;
}

function checkGates({ maxLagSeconds, heartbeat, control, server: { replicas } }: Flags): void {
  if (control === "") throw new UsageError("--control must not be empty");
  if (maxLagSeconds !== undefined && replicas === undefined)
    throw new UsageError("--max-lag needs to know the replicas: --replicas db2,db3:3307");
  if (heartbeat !== undefined && replicas === undefined)
    throw new UsageError("--heartbeat goes with --replicas and --max-lag SECONDS");
  // With a socket, the limit may come later.
  if (replicas !== undefined && maxLagSeconds === undefined && control === undefined)
    throw new UsageError("--replicas goes with --max-lag SECONDS");
}

function parse(args: readonly string[]) {
  try {
    const { tokens, ...parsed } = parseArgs({ args: [...args], options, allowPositionals: true, tokens: true });
    for (const token of tokens) {
      if (token.kind === "option") rejectEquals(token);
      rejectPassword(token);
    }
    return parsed;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const { code, message } = error as Error & { code?: string };
    const unknown = /^Unknown option '(-[^']*)'/.exec(message)?.[1];
    if (code === "ERR_PARSE_ARGS_UNKNOWN_OPTION" && unknown) {
      throw new UsageError(`Unknown option ${unknown}: ${suggest(unknown)}`);
    }
    const [, option, problem] = /^Option '(?:-\w, )?(--?[\w-]+)[^']*' ?(.*)/s.exec(message) ?? [];
    if (problem?.startsWith("argument missing")) throw new UsageError(`${option} needs a value`);
    if (problem?.startsWith("does not take")) throw new UsageError(`${option} takes no value`);
    const number = args.findIndex((arg, index) => index > 0 && /^-[.\d]/.test(arg) && args[index - 1] === option);
    if (problem?.includes("ambiguous") && number > 0) {
      // Its check says what is right.
      const joined = attached(option!).replace("VALUE", () => args[number]!);
      return parse(args.toSpliced(number - 1, 2, joined));
    }
    if (problem?.includes("ambiguous"))
      throw new UsageError(`${option} needs a value: one that begins with "-" is given as ${attached(option!)}`);
    throw new UsageError(message.split("\n")[0]!, { cause: error });
  }
}

/** `-j=2` is the value "=2" to getopt and its kind, and to nobody else. */
function rejectEquals({ name, rawName, value }: { name: string; rawName: string; value?: string | undefined }): void {
  if (rawName.startsWith("--") || !value?.startsWith("=")) return;
  const meant = value.slice(1);
  throw new UsageError(`${rawName}=${meant} has one "=" too many: write ${rawName} ${meant} or --${name}=${meant}`);
}

/** What is not echoed: a URL with a password, in a place where a file or a name belongs. */
function rejectPassword(token: { kind: string; name?: string; rawName?: string; value?: string | undefined }): void {
  const { kind, name, rawName, value = "" } = token;
  if (kind === "positional" && /^(?:\w+:\/\/|[^/]*:.*@)/s.test(value)) {
    throw new UsageError(
      "A server is named by --url, without a password: mysql://user@host:3306/database (a file of such a name: ./NAME)",
    );
  }
  if (name === "url" || name === "init-command") return;
  if (/^\w+:\/\/[^/]*:.*@/s.test(value) || (name === "user" && value.includes(":"))) {
    throw new UsageError(`${rawName} must not hold a password, which ps would show: ${passwordPlace}`);
  }
}

const passwordPlace = "put it into MYSQL_PWD or an option file";

function suggest(unknown: string): string {
  const name = unknown.replace(/^-+/, "");
  if (/^-p|^--p(?:as?s|w)/.test(unknown))
    return "a password goes into MYSQL_PWD or an option file, where ps does not show it";
  const distances = Object.keys(options).map((known) => ({ known, distance: distance(name, known) }));
  const nearest = distances.reduce((best, other) => (other.distance < best.distance ? other : best));
  const begun = name === "" ? undefined : Object.keys(options).find((known) => known.startsWith(name));
  const typos = name.length < 5 ? 1 : name.length < 8 ? 2 : 3;
  const meant = begun ?? (nearest.distance <= typos && nearest.distance < name.length ? nearest.known : undefined);
  return meant === undefined ? "--help lists the options" : `did you mean --${meant}?`;
}

function attached(option: string): string {
  return option.startsWith("--") ? `${option}=VALUE` : `${option}VALUE`;
}

/** Levenshtein's: how many letters to insert, remove or replace. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
