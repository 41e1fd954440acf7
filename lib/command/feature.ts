/** What a feature is to the command: a folder of `lib/features` that a copy may leave out. */
import { basename } from "node:path";
import type { ConnectionOptions } from "mysql2";
import type { Failure, Query, Summary, WorkOptions } from "../mp.ts";
import type { Progress } from "../parent/progress.ts";
import type { NamedServer } from "./config.ts";
import type { CoreFlags } from "./core-flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import type { Output } from "./output.ts";

/** A feature: its flags, and what it does when one of them is given. It imports its other files only then. */
export interface Feature<Table extends FlagTable = Record<never, never>> {
  readonly flags: Table;
  /**
   * @param isSteered by name: dials can be set while the run goes on.
   * @throws UsageError for flags that contradict one another.
   */
  check?(flags: Given<Table>, isSteered: boolean): void;
  isAsked?(flags: Given<Table>, context: Context): boolean;
  /** Adds to the run what the flags ask for. A dry run asks only the features that say `inDryRun`. */
  setUp?(flags: Given<Table>, context: Context): Promise<Hook>;
  readonly inDryRun?: true;
  /** True if somebody can change the run while it goes on: then all dials are set up. */
  steers?(flags: Given<Table>, hasKeys: boolean): boolean;
  /** True if its data goes to stdout. */
  writesData?(flags: Given<Table>): boolean;
  /** Starts a server where none was named. */
  startServer?(context: Surroundings): Promise<ConnectionOptions>;
  /** Opens the files on the command line. */
  openFiles?(flags: Given<Table>, context: Surroundings, dollarQuotes: () => Promise<boolean>): Promise<Files>;
  /** Returns what prints a query as a piece of an SQL file. */
  sqlPrinter?(): Promise<(seq: number, unit: unknown) => string | Uint8Array>;
}

type Given<Table extends FlagTable> = CoreFlags & FlagValues<Table>;

/** Infers the types of a feature's flags. */
export function defineFeature<Table extends FlagTable>(feature: Feature<Table>): Feature {
  return feature as unknown as Feature;
}

/** What a feature adds to a run. The last one that was set up is closed first. */
export interface Hook {
  /** Options for `doWork()`; gates of several hooks are put together. */
  readonly options?: WorkOptions;
  /** What of it can be changed while the run goes on. */
  readonly dials?: readonly Dial[];
  /** It finds out by itself what became of a query that may have run. */
  readonly decidesUnknown?: true;
  /** How the same command goes on with a run that has not done all. */
  readonly goingOn?: GoingOn;
  /** The first queries that an earlier run has left unknown. */
  readonly leftUnknown?: readonly { readonly seq: number; readonly unit: unknown }[];
  /** Keeps what a person has changed of the run. */
  note?(change: string): void;
  /** Looks at a run that has come to its end. @throws Error for what is wrong with it. */
  check?(summary: Summary): unknown;
  /** Returns the seq of each query whose rows may not have been read, where these are not given again. */
  lostRows?(): Promise<ReadonlySet<number>>;
  /** Takes back that these queries are done, as far as they are. Returns those that are unknown now. */
  takeBack?(seqs: ReadonlySet<number>): Promise<Failure[]>;
  /** Makes lasting what it knows of the run, before the summary is printed; returns why it cannot. */
  flush?(): Promise<Error | undefined>;
  close?(): unknown;
}

/** How a run goes on, in the words of the command line. */
export interface GoingOn {
  /** Flags that are added to the same command, such as `--resume`. */
  readonly flags?: string;
  /** Flags besides, for what has failed, and for what is unknown. */
  readonly failed?: string | undefined;
  readonly unknown?: string | undefined;
  /** Which of the unknown queries are run again. */
  readonly unless?: string;
  /** The file that has what became of each query. */
  readonly file?: string;
}

/** Something that can be changed while the run goes on, such as the rate. */
export interface Dial {
  /** Its name in a command, such as `max-load`. */
  readonly name: string;
  /** What it is set to, for `status`; null when it is off. */
  readonly value: unknown;
  /** Sets it by the argument of a command. @throws UsageError, and nothing is changed then. */
  set(argument: string): unknown;
}

/** The process, what it prints, and what has been set up so far. */
export interface Surroundings {
  readonly io: Io;
  readonly output: Output;
  readonly progress: Progress;
  /** Gets a hook for each thing that is set up, at once: it is closed also when the next one fails. */
  readonly hooks: Hook[];
  /** Is aborted when the run is to end. */
  readonly drain: AbortController;
}

/** What a feature's set-up can use. */
export interface Context extends Surroundings {
  readonly db: ConnectionOptions;
  /** The server, or the servers of a cluster, with what to call each. */
  readonly servers: readonly { readonly db: ConnectionOptions; readonly where?: string }[];
  /** What names them; undefined for the sandbox. */
  readonly server: NamedServer | undefined;
  /** Somebody sits in front of it, whose keys are for the run. */
  readonly hasKeys: boolean;
  readonly isSteered: boolean;
}

/** The queries of the files on the command line. */
export interface Files {
  readonly queries: AsyncIterable<Query>;
  readonly isEmpty: boolean;
  /** Whether anyone has begun to read the queries. */
  readonly isStarted: boolean;
  /** Where a session statement stands that is not at the top, so far: what follows cannot be resumed. */
  readonly orderedFrom: string | undefined;
}

/** The options of all hooks, put together. */
export function optionsOf(hooks: readonly Hook[]): WorkOptions {
  const all = hooks.map(({ options }) => options ?? {});
  return { ...Object.assign({}, ...all), gates: all.flatMap(({ gates }) => gates ?? []) };
}

/** Tells a person, and every hook that keeps it, what was changed of the run. */
export function tellChange(change: string, { progress, hooks }: Surroundings): void {
  progress.log(`changed: ${change}`);
  for (const hook of hooks) hook.note?.(change);
}

/** What a command has of its process: `process` itself, or what stands for it in a test. */
export interface Io {
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: NodeJS.ReadableStream & { destroy(): void };
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  off(signal: NodeJS.Signals, listener: () => void): unknown;
}

/** What a person has called the script. */
export function scriptOf({ argv }: Io): string {
  return basename(argv[1] ?? "myscript.ts");
}
