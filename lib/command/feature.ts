/** The contract between a feature and the command. A feature is a folder of `lib/features` that a copy may leave out. */
import { basename } from "node:path";
import type { ConnectionOptions } from "mysql2";
import type { Query, Summary, WorkOptions } from "../mp.ts";
import type { Progress } from "../parent/progress.ts";
import type { NamedServer, SettingsFile } from "./config.ts";
import type { CoreFlags } from "./core-flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import type { Output } from "./output.ts";

/** A feature: its flags, and its set-up if they ask for it. It imports its other files only in the set-up. */
export interface Feature<Table extends FlagTable = Record<never, never>> {
  readonly flags: Table;
  /**
   * Checks the flags together.
   *
   * @param isSteered true if somebody can set dials by name during the run.
   * @throws UsageError for flags that contradict one another.
   */
  check?(flags: Given<Table>, isSteered: boolean): void;
  /** Returns true if the flags ask for this feature. */
  isAsked?(flags: Given<Table>, context: Context): boolean;
  /** Sets the feature up. A dry run sets up only features with `inDryRun`. */
  setUp?(flags: Given<Table>, context: Context): Promise<Hook>;
  readonly inDryRun?: true;
  /** Returns true if a dry run needs the server for this feature. */
  asksServer?(flags: Given<Table>): boolean;
  /** Returns true if this feature lets somebody change the run while it goes on. All features with dials are then set up. */
  steers?(flags: Given<Table>, hasKeys: boolean): boolean;
  /** Returns true if it writes data to stdout. */
  writesData?(flags: Given<Table>): boolean;
  /** Returns a file with settings of the server, if there is one. */
  settingsFile?(flags: Given<Table>): Promise<SettingsFile | undefined>;
  /** Starts a server, for a command line that names none. */
  startServer?(context: Surroundings): Promise<ConnectionOptions>;
  /** Opens the files on the command line. */
  openFiles?(flags: Given<Table>, context: Surroundings, dollarQuotes: () => Promise<boolean>): Promise<Files>;
  /** Returns a function that formats a query as part of an SQL file. */
  sqlPrinter?(): Promise<(seq: number, unit: unknown) => string | Uint8Array>;
}

type Given<Table extends FlagTable> = CoreFlags & FlagValues<Table>;

/** Defines a feature. Infers the types of its flags' values. */
export function defineFeature<Table extends FlagTable>(feature: Feature<Table>): Feature {
  return feature as unknown as Feature;
}

/** Addition of a feature to a run. Hooks are closed in reverse order. */
export interface Hook {
  /** Options for `doWork()`. The gates of all hooks apply together. */
  readonly options?: WorkOptions;
  /** Settings that can be changed during the run. */
  readonly dials?: readonly Dial[];
  /** Text for messages, such as " that the ledger does not have". Set if the feature finds out which `unknown` queries are done. */
  readonly decidesUnknown?: string;
  /** File with the outcome of each query. */
  readonly file?: string;
  /** Returns lines to add to the printed summary. */
  lines?(summary: Summary): readonly string[];
  /** Returns a line about a run that had nothing to do. The first hook that has this function is asked. */
  finishedLine?(summary: Summary, isKeyed: boolean): string | undefined;
  /** Returns lines that say how to go on. The last hook that has this function is asked. */
  nextSteps?(summary: Summary, facts?: StepFacts): readonly string[];
  /** Set if a dry run prints what an earlier run has left: queries as an SQL file, and units of a `workerDo()` by this function. */
  printLeft?(seq: number, unit: unknown): string;
  /** Records a change that somebody made during the run. */
  note?(change: string): void;
  /** Checks a run that has ended. @throws Error if something is wrong with it. */
  check?(summary: Summary): unknown;
  /** Returns the seq of each query whose rows the reader of stdout may have lost. */
  lostRows?(): Promise<ReadonlySet<number>>;
  /** Makes those of these queries `unknown` that are done. Returns the summary with the changed outcomes. */
  takeBack?(seqs: ReadonlySet<number>, summary: Summary): Promise<Summary>;
  /** Writes its data to disk before the summary is printed. Returns the error if that fails. */
  flush?(): Promise<Error | undefined>;
  close?(): unknown;
}

/** Facts about a run that decide how to go on with it. */
interface StepFacts {
  /** False if `file` lacks some outcomes. */
  readonly isComplete?: boolean;
  /** False for queries of a script, which may build other queries the next time. */
  readonly isFromFiles?: boolean;
  readonly isKeyed?: boolean;
}

/** Setting that can be changed during the run, such as the rate. */
export interface Dial {
  /** Its name in a command, such as `max-load`. */
  readonly name: string;
  /** Present value, for `status`. Null if it is off. */
  readonly value: unknown;
  /** Sets it to the argument of a command. @throws UsageError for an invalid argument, and then changes nothing. */
  set(argument: string): unknown;
}

/** The process, its output, and the hooks that were set up so far. */
export interface Surroundings {
  readonly io: Io;
  readonly output: Output;
  readonly progress: Progress;
  readonly hasBar: boolean;
  /** Hooks to close at the end. Each is added as soon as it is set up, so that it is closed even if the next set-up fails. */
  readonly hooks: Hook[];
  /** Abort it to end the run after the queries in flight. */
  readonly drain: AbortController;
}

/** Context of a feature's set-up. */
export interface Context extends Surroundings {
  readonly db: ConnectionOptions;
  /** The server, or the servers of a cluster. `where` is a name for messages. */
  readonly servers: readonly { readonly db: ConnectionOptions; readonly where?: string }[];
  /** The server as the command line names it. Undefined for the sandbox. */
  readonly server: NamedServer | undefined;
  /** True if the run can read keys from a terminal. */
  readonly hasKeys: boolean;
  readonly isSteered: boolean;
}

/** Queries of the files on the command line. */
export interface Files {
  readonly queries: AsyncIterable<Query>;
  readonly isEmpty: boolean;
  /** True once `main()` has begun to read the queries. */
  readonly isStarted: boolean;
  /** Place of the first session statement below the top, if it has been read. The queries after it cannot be resumed. */
  readonly orderedFrom: string | undefined;
}

/** Merges the options of all hooks. */
export function optionsOf(hooks: readonly Hook[]): WorkOptions {
  const all = hooks.map(({ options }) => options ?? {});
  return { ...Object.assign({}, ...all), gates: all.flatMap(({ gates }) => gates ?? []) };
}

/** The part of `process` that the command uses. Tests replace it. */
export interface Io {
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: NodeJS.ReadableStream & { destroy(): void };
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  off(signal: NodeJS.Signals, listener: () => void): unknown;
}

/** Returns the name of the script's file. */
export function scriptOf({ argv }: Io): string {
  return basename(argv[1] ?? "myscript.ts");
}
