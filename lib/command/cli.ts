/** What makes myscript.ts a good command: where it runs, what it prints, how it is interrupted, how it ends. */
import { readFileSync } from "node:fs";
import mysql, { type ConnectionOptions } from "mysql2";
import type { Gate, Host, Query, Summary, WorkOptions } from "../mp.ts";
import { nameOf } from "../mysql/connection.ts";
import { sessionStatement } from "../mysql/statement.ts";
import { defaultThreads } from "../parent/options.ts";
import { createProgress, type Progress, printable } from "../parent/progress.ts";
import { resolveServer, type Server } from "./config.ts";
import { finish, runToEnd, written } from "./ending.ts";
import { commandName, explain, script, UsageError } from "./errors.ts";
import { type Flags, parseFlags } from "./flags.ts";
import { loadGate, nearGate, rateGate } from "./gates.ts";
import { help } from "./help.ts";
import { readQueries } from "./input.ts";
import { escapeField } from "./joblog.ts";
import { type Journal, openJournal } from "./journal.ts";
import { Output } from "./output.ts";
import { probeServer, reachServer } from "./probe.ts";
import { startSandbox } from "./sandbox.ts";
import { watchSignals } from "./signals.ts";

/** What the command line asks for. */
export interface Command {
  /** The server; of several, one that answered. */
  readonly db: ConnectionOptions;
  /** The queries of the files, if any are named. */
  readonly queries: AsyncIterable<Query> | undefined;
  readonly workers: number;
  readonly options: WorkOptions;
}

/**
 * Runs `main` with what the command line asks for, and prints what became of it.
 *
 * @returns the exit status: 0 every query done; 1 some failed or were skipped; 2 usage, configuration or no server; 3 some are
 * unknown; 129, 130 and 143 after SIGHUP, SIGINT and SIGTERM.
 */
export async function runCommand(main: (command: Command) => Promise<Summary>): Promise<number> {
  process.stderr.on("error", () => {}); // its reader may be gone
  const output = new Output();
  let progress = createProgress();
  let flags: Flags | undefined;
  const closers: (() => unknown)[] = [];
  try {
    checkRuntime();
    flags = parseFlags(process.argv.slice(2));
    if (flags.help) return print(help.replace("myscript.ts", script), output);
    if (flags.version) return print(versionOf(new URL("../../package.json", import.meta.url)), output);
    // Rows that run over a terminal would run over the bar.
    progress = createProgress(process.stderr, flags.quiet || (flags.rows && process.stdout.isTTY));
    const server = resolveServer(flags.server);
    if (!server && flags.files.length > 0 && !flags.dryRun) {
      throw new UsageError("Name a server for these queries: --host, --socket, --url, --defaults-file or MYSQL_HOST");
    }
    const { files, workers } = flags;
    const reading = { dependsOnOrder: false };
    const queries = files.length > 0 ? await begin(warned(readQueries(files), flags, progress, reading)) : undefined;
    if (queries?.isEmpty) progress.log(`warning: no queries in ${files.join(", ").replace(/^-$/, "stdin")}`);
    const db = await serverOf(flags, server, progress, closers);
    const hosts = server && server.hosts.length > 1 ? server.hosts : undefined;
    const { journal, gates } = flags.dryRun ? {} : await gatesOf(flags, db, hosts, closers);
    const interruption = watchSignals(progress, flags.dryRun);
    interruption.kill.signal.addEventListener("abort", () => output.abandon());
    const printDry = (seq: number, unit: unknown) => write(`${seq}\t${textOf(unit)}\n`, output, interruption.drain);
    let unread = files.length > 0;
    const command: Command = {
      db,
      get queries() {
        unread = false;
        return queries;
      },
      workers,
      options: {
        // doWork() reads it before it starts anything.
        get progress() {
          if (unread) throw new UsageError(`Cannot run ${files.join(", ")}: ${script} does not use command.queries`);
          return progress;
        },
        ...given({ hosts, threads: flags.threads, shard: flags.shard, timeoutSeconds: flags.timeoutSeconds }),
        ...given({ maxFailures: flags.maxFailures, ledger: flags.ledger, dryRun: flags.dryRun ? printDry : undefined }),
        ...(flags.rows && { onRows: (lines: Uint8Array) => write(lines, output, interruption.drain) }),
        retries: flags.retries,
        batch: flags.batch,
        connectTimeoutSeconds: flags.connectTimeoutSeconds,
        idempotent: flags.idempotent,
        ...(gates && { gates }),
        ...(journal && { earlier: journal.earlier, onEnded: journal.ended, resumed: journal.isResumed }),
        signal: interruption.drain.signal,
        killSignal: interruption.kill.signal,
      },
    };
    const run = await runToEnd(() => main(command), journal);
    if (flags.dryRun) return await written(0, output, progress);
    const status = await finish(
      run,
      { ...flags, ...reading, onSandbox: server === undefined },
      journal,
      progress,
      output,
    );
    return (run.error === undefined && interruption.status()) || status;
  } catch (error) {
    progress.log(`${commandName}: ${explain(error)}`);
    return 2;
  } finally {
    if (flags?.files.includes("-")) process.stdin.destroy();
    for (const close of closers) {
      try {
        await close();
      } catch (error) {
        progress.log(`${commandName}: ${explain(error)}`);
      }
    }
    await output.flush();
    // What main() left open, such as a connection, keeps the process alive no longer.
    setTimeout(() => process.exit(), 1000).unref();
  }
}

/** An older Node would fail somewhere in the middle. Deno and Bun have a version of Node, too. */
function checkRuntime(): void {
  const [major, minor] = process.versions.node.split(".").map(Number) as [number, number];
  if (major > 20 || (major === 20 && minor >= 6)) return;
  throw new UsageError(`Cannot run on Node ${process.versions.node}: Node must be 20.6 or later`);
}

/** Where the queries go: the server that was named, or else the sandbox; says so. */
async function serverOf(
  { dryRun, files, quiet, workers, threads, connectTimeoutSeconds }: Flags,
  server: Server | undefined,
  progress: Progress,
  closers: (() => unknown)[],
): Promise<ConnectionOptions> {
  if (server && dryRun) {
    const unasked = { ...server.db, ...server.hosts[0] };
    if (files.length > 0 || !server.tlsOptional) return unasked;
    // buildQueries() may need it: with TLS or without, if the server is there to tell.
    return probeServer(server, Math.min(connectTimeoutSeconds, 3)).then(
      ({ db }) => db,
      () => unasked,
    );
  }
  if (server) {
    const { db, where, version } = await reachServer(server, connectTimeoutSeconds, progress.log);
    const carriers = plural(threads ?? defaultThreads(workers), "thread");
    if (!quiet) progress.log(`${where}, ${plural(workers, "worker")} on ${carriers}, server ${version}`);
    return db;
  }
  if (files.length > 0) return {}; // a dry run
  if (!quiet) progress.log("no server was named: running on a private throwaway MariaDB");
  const sandbox = await startSandbox();
  closers.push(sandbox.stop);
  return sandbox.db;
}

/** What holds queries back, and the job log, which is one of these. */
async function gatesOf(
  flags: Flags,
  db: ConnectionOptions,
  hosts: readonly Host[] | undefined,
  closers: (() => unknown)[],
): Promise<{ gates: Gate[]; journal?: Journal }> {
  const { joblog, resume, retryFailed, idempotent, ledger, rate, maxLoad, workers } = flags;
  const gates: Gate[] = [];
  if (rate !== undefined) gates.push(rateGate(rate, workers));
  if (maxLoad.length > 0) {
    // The most loaded host decides: in a cluster, what one of them writes is work for all.
    const looking = hosts?.map((host) => loadGate({ ...db, ...host }, maxLoad, nameOf(host))) ?? [
      loadGate(db, maxLoad),
    ];
    for (const { gate, stop } of await Promise.all(looking)) {
      gates.push(gate);
      closers.push(stop);
    }
    gates.push(nearGate(workers));
  }
  if (joblog === undefined) return { gates };
  const journal = await openJournal(joblog, {
    resume,
    retryFailed,
    retryUnknown: flags.retryUnknown || idempotent || ledger !== undefined, // the ledger tells
    ...(flags.shard && { shard: `${flags.shard.index}/${flags.shard.count}` }),
  });
  closers.push(journal.close);
  gates.push({ ...nearGate(workers), admitted: journal.releaseTo });
  return { gates, journal };
}

/** The options that were given: those that are not undefined. */
function given<Options extends object>(
  options: Options,
): { [Name in keyof Options]?: Exclude<Options[Name], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}

/** Reads the first query, so that a file that cannot be read ends the command before it starts anything. */
async function begin(queries: AsyncGenerator<Query>): Promise<AsyncIterable<Query> & { isEmpty: boolean }> {
  const first = await queries.next();
  const all = async function* () {
    if (first.done) return;
    yield first.value;
    yield* queries;
  };
  return Object.assign(all(), { isEmpty: first.done === true });
}

/** Warns of the first statement that means something to one connection only, where the others may not have that one. */
async function* warned(
  queries: AsyncIterable<{ sql: string; at: string }>,
  { workers, shard, joblog }: Flags,
  progress: Progress,
  reading: { dependsOnOrder: boolean },
): AsyncGenerator<Query> {
  let warning =
    shard !== undefined
      ? "a shard has only some of the queries"
      : workers > 1
        ? `there are ${workers}: -j 1 runs everything in order on one`
        : joblog !== undefined && "--resume cannot go on behind it: an interrupted run has to begin anew";
  for await (const query of queries) {
    const statement = warning && sessionStatement(query.sql);
    if (statement) {
      progress.log(`warning: ${query.at}: ${statement} means something to one connection, and ${warning}`);
      warning = false;
      reading.dependsOnOrder = workers === 1;
    }
    yield query;
  }
}

/** Writes to stdout and waits while its reader is slow; a reader that has gone, or a full disk, ends the run. */
async function write(lines: string | Uint8Array, output: Output, drain: AbortController): Promise<void> {
  await output.write(lines);
  if (output.failure) drain.abort(output.closed ? "the reader of stdout wants no more" : "cannot write to stdout");
}

/** A query's SQL in one line. */
function textOf(unit: unknown): string {
  const { sql, values } =
    typeof unit === "string" ? { sql: unit, values: undefined } : (unit as Exclude<Query, string>);
  const plain = typeof sql === "string" ? sql : Buffer.from(sql).toString();
  const text = values ? mysql.format(plain, values as string[]) : plain;
  const line = escapeField(text);
  return process.stdout.isTTY ? printable(line) : line;
}

function print(text: string, output: Output): number {
  void output.write(`${text}\n`);
  return 0;
}

function versionOf(packageUrl: URL): string {
  return `myscript ${JSON.parse(readFileSync(packageUrl, "utf8")).version}`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
