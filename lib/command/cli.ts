/** What makes myscript.ts a good command: where it runs, what it prints, how it is interrupted, how it ends. */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename } from "node:path";
import mysql, { type ConnectionOptions } from "mysql2";
import { nameOf } from "../connection.ts";
import { type Gate, type Host, type Query, RefusedError, RunError, type Summary, type WorkOptions } from "../mp.ts";
import { createProgress, type Progress, printable } from "../progress.ts";
import { sessionStatement } from "../statement.ts";
import { resolveServer, type Server } from "./config.ts";
import { placeOf, UsageError } from "./errors.ts";
import { type Flags, parseFlags } from "./flags.ts";
import { loadGate, nearGate, rateGate } from "./gates.ts";
import { help } from "./help.ts";
import { readQueries } from "./input.ts";
import { escapeField } from "./joblog.ts";
import { type Journal, openJournal } from "./journal.ts";
import { Output } from "./output.ts";
import { reachServer } from "./probe.ts";
import { reportLines, waysOn } from "./report.ts";
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

/** What a person has called this script. */
const script = basename(process.argv[1] ?? "myscript.ts");
const name = script.replace(/\.[cm]?[jt]s$/, "");

/**
 * Runs `main` with what the command line asks for, and prints what became of it.
 *
 * @returns the exit status: 0 every query done; 1 some failed or were skipped; 2 usage, configuration or no server; 3 some are
 * unknown; 130 and 143 after SIGINT and SIGTERM.
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
    const queries = files.length > 0 ? await begin(warned(readQueries(files), workers, progress)) : undefined;
    if (queries?.isEmpty) progress.log(`warning: no queries in ${files.join(", ").replace(/^-$/, "stdin")}`);
    const db = await serverOf(flags, server, progress, closers);
    const hosts = server && server.hosts.length > 1 ? server.hosts : undefined;
    const { journal, gates } = flags.dryRun ? {} : await gatesOf(flags, db, hosts, closers);
    const interruption = watchSignals(progress, flags.dryRun);
    interruption.kill.signal.addEventListener("abort", () => output.abandon());
    const printDry = (seq: number, unit: unknown) => print(`${seq}\t${textOf(unit)}`, output);
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
        ...(flags.rows && { onRows: (lines: Uint8Array) => writeRows(lines, output, interruption.drain) }),
        retries: flags.retries,
        batch: flags.batch,
        connectTimeoutSeconds: flags.connectTimeoutSeconds,
        idempotent: flags.idempotent,
        ...(gates && { gates }),
        ...(journal && { earlier: journal.earlier, onEnded: journal.ended }),
        signal: interruption.drain.signal,
        killSignal: interruption.kill.signal,
      },
    };
    const run = await runToEnd(main, command, journal);
    if (flags.dryRun) return await written(0, output, progress);
    const status = await finish(run, { ...flags, onSandbox: server === undefined }, journal, progress, output);
    return (run.error === undefined && interruption.status()) || status;
  } catch (error) {
    progress.log(`${name}: ${explain(error)}`);
    return 2;
  } finally {
    if (flags?.files.includes("-")) process.stdin.destroy();
    for (const close of closers) {
      try {
        await close();
      } catch (error) {
        progress.log(`${name}: ${explain(error)}`);
      }
    }
    await output.flush();
    // What main() left open, such as a connection, keeps the process alive no longer.
    setTimeout(() => process.exit(), 1000).unref();
  }
}

/** How far the queries came, and what was wrong with the run. */
interface Run {
  readonly summary: Summary;
  readonly error?: Error;
}

/** @throws whatever `main` throws before a query was to be run, and after the run. */
async function runToEnd(
  main: (command: Command) => Promise<Summary>,
  command: Command,
  journal: Journal | undefined,
): Promise<Run> {
  let summary: Summary;
  try {
    summary = await main(command);
  } catch (error) {
    if (!(error instanceof RunError) || error.summary.workers === 0 || error.summary.total === 0) throw error;
    const { reason } = error.summary;
    return {
      summary: { ...error.summary, ...(reason && { reason: reason.replace(error.message, () => explain(error)) }) },
      error,
    };
  }
  try {
    if (summary.reason === undefined) journal?.checkEnd();
    return { summary };
  } catch (error) {
    return { summary, error: error as Error };
  }
}

/** What an error says, and where in the script it was thrown. */
function explain(error: unknown): string {
  const place = placeOf(error instanceof RunError ? error.cause : error);
  return `${error instanceof Error ? error.message : error}${place}`;
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
  if (server && dryRun) return { ...server.db, ...server.hosts[0] };
  if (server) {
    const { db, where, version } = await reachServer(server, connectTimeoutSeconds, progress.log);
    const carriers = plural(threads ?? Math.min(workers, availableParallelism()), "thread");
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

/** Warns of the first statement that means something to one connection only. */
async function* warned(
  queries: AsyncIterable<{ sql: string; at: string }>,
  workers: number,
  progress: Progress,
): AsyncGenerator<Query> {
  let warn = workers > 1;
  for await (const query of queries) {
    const statement = warn && sessionStatement(query.sql);
    if (statement) {
      progress.log(
        `warning: ${query.at}: ${statement} means something to one connection, and there are ${workers}: ` +
          "-j 1 runs everything in order on one",
      );
      warn = false;
    }
    yield query;
  }
}

/** Writes rows to stdout and waits while its reader is slow; a reader that has gone, or a full disk, ends the run. */
async function writeRows(lines: Uint8Array, output: Output, drain: AbortController): Promise<void> {
  await output.write(lines);
  if (output.failure) drain.abort(output.closed ? "the reader of stdout wants no more" : "cannot write to stdout");
}

/** A query's SQL in one line. */
function textOf(unit: unknown): string {
  const { sql, values } =
    typeof unit === "string" ? { sql: unit, values: undefined } : (unit as Exclude<Query, string>);
  const text = values ? mysql.format(sql, values as string[]) : sql;
  const line = escapeField(text);
  return process.stdout.isTTY ? printable(line) : line;
}

/** Prints what became of the run; returns the exit status. */
async function finish(
  { summary, error }: Run,
  flags: Flags & { readonly onSandbox: boolean },
  journal: Journal | undefined,
  progress: Progress,
  output: Output,
): Promise<number> {
  const isRefused = [error, error?.cause].some((what) => what instanceof UsageError || what instanceof RefusedError);
  const broken = await journal?.flush();
  for (const { message } of [error, broken].filter((what) => what !== undefined)) {
    if (!summary.reason?.includes(message)) progress.log(`${name}: ${message}`);
  }
  const status = summary.unknown > 0 ? 3 : error || broken || summary.done < summary.total ? 1 : 0;
  const isWrong = error || broken || summary.failed + summary.unknown > 0 || (summary.skipped > 0 && !output.closed);
  if (!flags.quiet || isWrong) for (const line of reportLines(summary, journal?.leftUnknown)) progress.log(line);
  if (flags.json) print(toJson({ ...summary, seconds: Math.round(summary.seconds * 1000) / 1000 }), output);
  await output.flush();
  // A changed input is refused again, rows that are lost do not come again, and the sandbox is gone.
  if (!isRefused && !output.failure && !flags.onSandbox) {
    for (const line of waysOn(summary, flags, broken === undefined)) progress.log(line);
  }
  return written(isRefused ? 2 : status, output, progress);
}

/** The exit status, which tells when not all could be written; a reader that wants no more, such as `head`, is normal. */
async function written(status: number, output: Output, progress: Progress): Promise<number> {
  await output.flush();
  if (!output.failure || output.closed) return status;
  progress.log(`${name}: Cannot write to stdout: ${output.failure.message}`);
  return Math.max(1, status);
}

/** JSON in one line, without the control characters that JSON lets pass. */
function toJson(value: unknown): string {
  return JSON.stringify(value).replace(/[\x7f-\x9f]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`);
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
