/** What a feature is to a run in the parent. */
import type { Counts } from "../shared/counters.ts";
import type { Notes } from "../shared/reading.ts";
import type { RunError } from "./errors.ts";
import type { CompleteOptions, Summary } from "./options.ts";
import type { Waits } from "./waits.ts";

/** A feature's part in the parent, as its `parent.ts` exports it. */
export interface ParentFeature {
  /**
   * Prepares a run before its threads are started.
   *
   * @throws TypeError or RangeError for a bad option, RunError for what else keeps the run from beginning.
   */
  begin(options: CompleteOptions, run: RunOfFeature): ParentPart | Promise<ParentPart>;
}

/** What a feature's part may do with its run. */
export interface RunOfFeature {
  /** Tells a person. */
  log(line: string): void;
  /** Runs what the caller of `doWork()` has given; what it throws ends the run. */
  guard(action: () => unknown, what?: string): Promise<void>;
  /** Takes note of what waits for a server. */
  readonly waits: Waits;
  /** Makes of an error what `doWork()` rejects with. */
  failure(error: unknown): RunError;
}

/** What a feature knows of earlier runs. */
export interface KnownQueries {
  /** The position of the last query that it knows of: nothing is released before the input has come to it. */
  readonly to: number;
  /** What it knows it by, such as "the ledger `shop`.`done`". */
  readonly by: string;
  /** Finds out what `isDone()` needs for the next query of the input; returns undefined if that is at hand. */
  prepare(seq: number, key: string | undefined): Promise<void> | undefined;
  /** Returns true for a query that is not to be run. @throws RefusedError if it is another one than it was. */
  isDone(seq: number, unit: unknown, key: string | undefined): boolean;
}

/** A feature in a run. */
export interface ParentPart {
  /** What its part in each thread gets. */
  readonly settings: unknown;
  /** Why each query must stand by itself, if it must. */
  readonly standsAlone?: string;
  /** Takes what its part in a thread has posted; `answer` posts something back. */
  message?(data: unknown, answer: (data: unknown) => void): void;
  /** True if a query that may have run can be sent again, as the feature finds out what became of it. */
  decides?(unit: unknown): boolean;
  readonly known?: KnownQueries;
  /** Where `ranges()` and the like keep what they have found, if the options name nothing that has some already. */
  readonly notes?: Notes;
  summary?(counts: Counts): Partial<Summary>;
  /** Resolves when nothing of it is under way. */
  end?(): Promise<unknown>;
}
