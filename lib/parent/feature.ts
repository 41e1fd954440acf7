/** What a feature is to a run in the parent. */
import type { Counts } from "../shared/counters.ts";
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
  summary?(counts: Counts): Partial<Summary>;
  /** Resolves when nothing of it is under way. */
  end?(): Promise<unknown>;
}
