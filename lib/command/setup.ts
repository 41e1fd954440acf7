/**
 * What stands before a run: the server or the sandbox, the files, and the hooks that the flags ask for.
 *
 * What most runs do without is imported where it is asked for: under tsx, each module takes some milliseconds.
 */
import { isatty } from "node:tty";
import type { ConnectionOptions } from "mysql2";
import { RefusedError, type WorkOptions } from "../mp.ts";
import { defaultThreads } from "../parent/options.ts";
import type { Progress } from "../parent/progress.ts";
import type { Command } from "./cli.ts";
import { resolveServer, type Server, strayVariable } from "./config.ts";
import { UsageError } from "./errors.ts";
import { type Files, openFiles } from "./files.ts";
import type { Flags } from "./flags.ts";
import { type Hook, optionsOf } from "./hook.ts";
import { type Io, scriptOf } from "./io.ts";
import { type Output, UnreadRows, writeOrEnd } from "./output.ts";
import { probeServer, reachServer } from "./probe.ts";

/** What a set-up needs around it. */
export interface Surroundings {
  readonly io: Io;
  readonly output: Output;
  readonly progress: Progress;
  /** Gets a hook for each thing that is set up, at once: it is closed also when the next one fails. */
  readonly hooks: Hook[];
  /** Is aborted when the run is to end. */
  readonly drain: AbortController;
}

/** What the flags ask for, ready to run, and what the end of the run is to know of it. */
export interface Setup {
  readonly command: Command;
  readonly fileQueries: Files | undefined;
  readonly isOnSandbox: boolean;
}

/** @throws UsageError, or Error where the server cannot be reached or the sandbox cannot be started. */
export async function setUp(flags: Flags, around: Surroundings): Promise<Setup> {
  const { io, progress, hooks, drain } = around;
  const server = resolveServer(flags.server, io.env);
  if (!server && flags.files.length > 0 && !flags.dryRun) {
    throw new UsageError(`Name a server for these queries: ${waysToName}`);
  }
  let reached: Promise<Reached> | undefined;
  const reach = () => {
    reached ??= databaseOf(flags, server, around);
    return reached;
  };
  // The client of MySQL 9 asks its server, too: only where a text has such a quote is it to be reached before the files are read.
  const hasDollarQuotes = async () => /^(?:9|\d\d)\.(?!.*MariaDB)/i.test((await reach()).version ?? "");
  const files = flags.files.length > 0 ? await filesOf(flags, around, hasDollarQuotes) : undefined;
  const { db, line } = await reach();
  const hosts = server && server.hosts.length > 1 ? server.hosts : undefined;
  const hasKeys = takesKeys(flags, io);
  if ((hasKeys || isHeld(flags)) && !flags.dryRun) {
    const { addHolds } = await import("./holds.ts");
    await addHolds(flags, { db, hosts, replicas: server?.replicas }, hasKeys, around);
  }
  if (line !== undefined) progress.log(line);
  hooks.push(flags.dryRun ? await dryRun(flags, around) : rowsHook(flags, around));
  const added = optionsOf(hooks);
  const { threads, shard, timeoutSeconds, maxFailures, ledger, retries, batch, connectTimeoutSeconds } = flags;
  const { idempotent, initCommands } = flags;
  const options: WorkOptions = {
    ...{ hosts, threads, shard, timeoutSeconds, maxFailures, ledger, retries, batch, connectTimeoutSeconds },
    ...{ idempotent, initCommands, progress, signal: drain.signal },
    ...added,
    earlier(seq, unit) {
      if (files && !files.isStarted) {
        throw new RefusedError(`Cannot run ${flags.files.join(", ")}: ${scriptOf(io)} does not use command.queries`);
      }
      return added.earlier?.(seq, unit);
    },
  };
  const command = { db, queries: files?.queries, workers: flags.workers, options };
  return { command, fileQueries: files, isOnSandbox: !server };
}

const waysToName = "--host, --socket, --url, --defaults-file or MYSQL_HOST";

/** The queries of the files; a person is told what in them is in the way of a later --resume. */
async function filesOf(
  flags: Flags,
  { io, progress, hooks }: Surroundings,
  hasDollarQuotes: () => Promise<boolean>,
): Promise<Files> {
  const { files: names, workers, shard, joblog } = flags;
  if (names.includes("-")) hooks.push({ close: () => io.stdin.destroy() });
  const reading = { stdin: io.stdin as AsyncIterable<Uint8Array>, dollarQuotes: hasDollarQuotes };
  const files = await openFiles(names, reading, (at, statement) => {
    if (workers > 1 || shard || joblog === undefined) return;
    progress.log(
      `warning: ${at}: ${statement} means something to one connection: --resume cannot go on, an interrupted run has to begin anew`,
    );
  });
  if (files.isEmpty) progress.log(`warning: no queries in ${names.join(", ").replace(/^-$/, "stdin")}`);
  return files;
}

interface Reached {
  readonly db: ConnectionOptions;
  readonly version?: string;
  /** What a person is told of it, once all is set up: a refusal is one line. */
  readonly line?: string;
}

/** Where the queries go: the server that was named, or else the sandbox. */
async function databaseOf(flags: Flags, server: Server | undefined, around: Surroundings): Promise<Reached> {
  const { dryRun, files, quiet, workers, threads, connectTimeoutSeconds } = flags;
  const { io, progress, hooks, drain } = around;
  if (server && dryRun) {
    const unasked = { ...server.db, ...server.hosts[0] };
    if (files.length > 0 || !server.tlsOptional) return { db: unasked };
    // buildQueries() may need it: with TLS or without, if the server is there to tell.
    return probeServer(server, Math.min(connectTimeoutSeconds, 3), drain.signal).then(
      ({ db }) => ({ db }),
      () => ({ db: unasked }),
    );
  }
  if (server) {
    const { db, where, version } = await reachServer(server, connectTimeoutSeconds, progress.log, drain.signal);
    const carriers = plural(threads ?? defaultThreads(workers), "thread");
    const line = `${where}, ${plural(workers, "worker")} on ${carriers}, server ${version}`;
    return { db, version, ...(!quiet && { line }) };
  }
  if (files.length > 0) return { db: {} }; // a dry run
  const stray = quiet ? "--quiet" : strayVariable(io.env);
  if (stray) throw new UsageError(`${stray} needs a server: name one with ${waysToName}`);
  const { findProgram, startSandbox } = await import("./sandbox.ts");
  const program = await findProgram();
  progress.log(`no server was named: running on a private throwaway ${program.isMariaDB ? "MariaDB" : "MySQL"}`);
  const sandbox = await startSandbox({ program });
  hooks.push({ close: sandbox.stop });
  return { db: sandbox.db };
}

function isHeld({ rate, maxLoad, maxLagSeconds, control, joblog }: Flags): boolean {
  return [rate, maxLoad[0], maxLagSeconds, control, joblog].some((value) => value !== undefined);
}

/** Whether somebody sits in front of it whose keys are for the run: stdin and the bar are on a terminal. */
function takesKeys({ quiet, files, rows }: Flags, io: Io): boolean {
  const isSilent = quiet || (rows && io.stdout.isTTY);
  return io === process && isatty(0) && io.stderr.isTTY && !isSilent && !files.includes("-");
}

/** Prints the queries instead of running them. */
async function dryRun(flags: Flags, around: Surroundings): Promise<Hook> {
  const { showQueries } = await import("./dry-run.ts");
  return showQueries(flags, around);
}

/** Rows go to stdout. If a resumed run would not give them again, those that get lost are found. */
function rowsHook({ rows, joblog, ledger }: Flags, { output, drain }: Surroundings): Hook {
  if (!rows) return {};
  if (joblog === undefined && ledger === undefined) {
    return { options: { onRows: (lines) => writeOrEnd(lines, output, drain) } };
  }
  const unread = new UnreadRows(output);
  return {
    options: { onRows: (lines) => writeOrEnd(lines, output, drain, unread.add(lines)) },
    async lostRows() {
      await output.flush();
      return unread.lost();
    },
  };
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
