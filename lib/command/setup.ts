/**
 * Sets up a run: the server or the sandbox, the files, and the hooks that the flags ask for.
 *
 * Modules that most runs do not need are imported dynamically, because each takes some milliseconds under tsx.
 */
import { isatty } from "node:tty";
import type { ConnectionOptions } from "mysql2";
import { type Query, RefusedError, type WorkOptions } from "../mp.ts";
import { nameOf } from "../mysql/connection.ts";
import { counted } from "../parent/text.ts";
import { howToAdd } from "../shared/left-out.ts";
import { keyOf } from "../shared/query.ts";
import { resolveServer, type Server, type ServerFlags, strayFlag, strayVariable } from "./config.ts";
import type { CoreFlags } from "./core-flags.ts";
import { UsageError } from "./errors.ts";
import { type Context, type Files, optionsOf, type Surroundings, scriptOf } from "./feature.ts";
import { features, tableOfFlags, waysToName } from "./flag-table.ts";
import { passwordPlaces } from "./flags.ts";
import { probeServer } from "./probe.ts";

/** Settings of the command line, for `main()`. */
export interface Command {
  /** Connection options of the server. If there are several hosts, of one that answered. */
  readonly db: ConnectionOptions;
  /** Queries of the files on the command line. Undefined if it names none. */
  readonly queries: AsyncIterable<Query> | undefined;
  readonly workers: number;
  readonly options: WorkOptions;
}

/** A run that is set up, and facts that its end depends on. */
export interface Setup {
  readonly command: Command;
  readonly fileQueries: Files | undefined;
  readonly isOnSandbox: boolean;
  /** Returns true if the queries that were read have keys. */
  isKeyed(): boolean;
}

/** Sets up a run. @throws UsageError for wrong settings. Error if the server cannot be reached, or the sandbox not started. */
export async function setUp(flags: CoreFlags, around: Surroundings): Promise<Setup> {
  const { io, progress, hooks } = around;
  const given = flags.given as ServerFlags;
  const file = await features.find(({ settingsFile }) => settingsFile)?.settingsFile?.(flags);
  const server = resolveServer(given, io.env, { file, places: passwordPlaces(tableOfFlags()) });
  const stray = server ? undefined : strayFlag(given);
  if (stray !== undefined) throw new UsageError(`${stray} needs a server: name one with ${waysToName()}`);
  const needsServer = !flags.dryRun || features.some(({ asksServer }) => asksServer?.(flags));
  if (!server && flags.files.length > 0 && needsServer) {
    throw new UsageError(`Name a server for these queries: ${waysToName()}`);
  }
  let reached: Promise<Reached> | undefined;
  const reach = () => {
    reached ??= databaseOf(flags, server, needsServer, around);
    return reached;
  };
  // Dollar quotes depend on the server's version, as in the client of MySQL 9. Only a text that has one needs the server before
  // the files are read.
  const hasDollarQuotes = async () => /^(?:9|\d\d)\.(?!.*MariaDB)/i.test((await reach()).version ?? "");
  const files = flags.files.length > 0 ? await filesOf(flags, around, hasDollarQuotes) : undefined;
  const { db, line } = await reach();
  const hosts = server && server.hosts.length > 1 ? server.hosts : undefined;
  const servers = hosts?.map((host) => ({ db: { ...db, ...host }, where: nameOf(host) })) ?? [{ db }];
  // Keys come from a terminal that no file uses, and act on a bar that is visible on one.
  const hasKeys = around.hasBar && io === process && isatty(0) && io.stderr.isTTY && !flags.files.includes("-");
  const isSteered = features.some(({ steers }) => steers?.(flags, hasKeys));
  await setUpFeatures(flags, { ...around, db, servers, server, hasKeys, isSteered });
  if (line !== undefined) progress.log(line);
  if (flags.dryRun) hooks.push(await (await import("./dry-run.ts")).showQueries(around));
  const added = optionsOf(hooks);
  let isKeyed: boolean | undefined;
  const { threads, shard, maxFailures, maxWarnings, retries, idempotent } = flags;
  const options: WorkOptions = {
    ...{ hosts, threads, shard, maxFailures, maxWarnings, retries, idempotent, progress },
    ...{ timeoutSeconds: flags.timeout, connectTimeoutSeconds: flags.connectTimeout, initCommands: flags.initCommand },
    ...added,
    earlier(seq, unit, isUnit) {
      if (files && !files.isStarted) {
        throw new RefusedError(`Cannot run ${flags.files.join(", ")}: ${scriptOf(io)} does not use command.queries`);
      }
      isKeyed ??= keyOf(unit) !== undefined; // all have a key, or none has
      return added.earlier?.(seq, unit, isUnit);
    },
  };
  const command = { db, queries: files?.queries, workers: flags.workers, options };
  return { command, fileQueries: files, isOnSandbox: !server, isKeyed: () => isKeyed === true };
}

async function setUpFeatures(flags: CoreFlags, context: Context): Promise<void> {
  for (const { isAsked, setUp, inDryRun } of features) {
    if (!setUp || (flags.dryRun && !inDryRun) || !isAsked?.(flags, context)) continue;
    context.hooks.push(await setUp(flags, context));
  }
}

/** Opens the files on the command line. */
async function filesOf(flags: CoreFlags, around: Surroundings, dollarQuotes: () => Promise<boolean>): Promise<Files> {
  const reader = features.find(({ openFiles }) => openFiles);
  if (reader?.openFiles) return reader.openFiles(flags, around, dollarQuotes);
  throw new UsageError(`Cannot read ${flags.files.join(", ")}: ${howToAdd("sql-files")}`);
}

interface Reached {
  readonly db: ConnectionOptions;
  readonly version?: string;
  /** Line about the server, to print once all is set up. Otherwise an error after it would be a second line. */
  readonly line?: string;
}

/** Reaches the server that is named. Starts the sandbox if none is. */
async function databaseOf(
  flags: CoreFlags,
  server: Server | undefined,
  needsServer: boolean,
  around: Surroundings,
): Promise<Reached> {
  const { dryRun, files, quiet, workers, threads, connectTimeout } = flags;
  const { io, progress, drain } = around;
  if (server && !needsServer) {
    const { ssl, ...plain } = { ...server.db, ...server.hosts[0] };
    const unasked = server.tlsOptional ? plain : { ...plain, ...(ssl && { ssl }) }; // the server may not offer TLS
    if (files.length > 0 || !server.tlsOptional) return { db: unasked };
    // buildQueries() may connect. Finds out whether the server offers TLS, if it can be reached.
    return probeServer(server, Math.min(connectTimeout, 3), drain.signal).catch(() => ({ db: unasked }));
  }
  if (server) {
    const { db, where, version } = await probeServer(server, connectTimeout, drain.signal, progress.log);
    const carriers = threads === undefined ? "" : ` on ${counted(threads, "thread")}`;
    const line = `${where}, ${counted(workers, "worker")}${carriers}, server ${version}`;
    return { db, version, ...(!quiet && !dryRun && { line }) };
  }
  if (files.length > 0) return { db: {} }; // a dry run
  const stray = quiet ? "--quiet" : strayVariable(io.env);
  if (stray) throw new UsageError(`${stray} needs a server: name one with ${waysToName()}`);
  const starter = features.find(({ startServer }) => startServer);
  if (starter?.startServer) return { db: await starter.startServer(around) };
  if (!needsServer) return { db: {} }; // nor does buildQueries(), perhaps
  throw new UsageError(`Name a server: ${waysToName()}`);
}
