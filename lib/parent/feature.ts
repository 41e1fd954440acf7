/** Interface between a run and the parts of its features in the parent. */
import { features } from "../features/index.ts";
import { howToGetOption } from "../shared/left-out.ts";
import type { Checkpoints } from "../shared/source-context.ts";
import type { RunError } from "./errors.ts";
import { type CompleteOptions, ownOptions, type Summary } from "./options.ts";
import type { Waits } from "./waits.ts";

/** Type of the `feature` that a feature's `parent.ts` exports. */
export interface ParentFeature {
  /**
   * Prepares a run before its threads are started.
   *
   * @throws TypeError or RangeError for a bad option, RunError if the run cannot begin for another reason.
   */
  begin(options: CompleteOptions, run: RunOfFeature): ParentPart | Promise<ParentPart>;
}

/** Members of the run that a feature's part may use. */
export interface RunOfFeature {
  log(line: string): void;
  guard(action: () => unknown, what?: string): Promise<void>;
  readonly waits: Waits;
  failure(error: unknown): RunError;
}

/** Queries of earlier runs that a feature knows of. */
export interface KnownQueries {
  /** Position of the last known query. No query is released before the input has reached it. */
  readonly to: number;
  /** Name of the source for messages, such as "the ledger `shop`.`done`". */
  readonly by: string;
  /** Loads what `isDone()` needs for the next query of the input. Returns undefined if it is loaded already. */
  prepare(seq: number, key: string | undefined): Promise<void> | undefined;
  /** Returns true for a query that must not run again. @throws RefusedError if it is not the query of the earlier run. */
  isDone(seq: number, unit: unknown, key: string | undefined): boolean;
}

/** A feature's part in one run. */
interface ParentPart {
  /** Data for its part in each thread. */
  readonly settings: unknown;
  /** Reason why no query may depend on an earlier one. Missing if it may. */
  readonly standsAlone?: string;
  /** Receives what its part in a thread has posted. `answer` posts data back. */
  message?(data: unknown, answer: (data: unknown) => void): void;
  /** Returns true if a query that may have run can be sent again, because the feature finds out whether it did. */
  decides?(unit: unknown): boolean;
  readonly known?: KnownQueries;
  /** Storage for the checkpoints of `ranges()`. Used unless `WorkOptions.checkpoints` holds those of an earlier run. */
  readonly checkpoints?: Checkpoints;
  /** Returns its part of the summary. `earlier` counts the queries that the job log knows to have ended. */
  summary?(earlier: Summary["earlier"]): Partial<Summary>;
  /** Resolves when the feature has finished its work. */
  end?(): Promise<unknown>;
}

export interface NamedPart {
  /** The name of the feature. */
  readonly name: string;
  readonly part: ParentPart;
}

/**
 * Prepares the features that the options ask for.
 *
 * @throws TypeError for an unknown option; the errors of the features.
 */
export async function beginParts(options: CompleteOptions, run: RunOfFeature): Promise<NamedPart[]> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  for (const [name] of given.filter(([name]) => !ownOptions.includes(name))) {
    if (features.some(({ option }) => option === name)) continue;
    throw new TypeError(`Cannot take the option ${name}: ${howToGetOption(name) ?? "there is none of this name"}`);
  }
  const parts: NamedPart[] = [];
  for (const { name, option, parent } of features) {
    const value = given.find(([name]) => name === option)?.[1];
    if (value === undefined) continue;
    const feature = (await parent?.())?.feature as ParentFeature | undefined;
    parts.push({ name, part: (await feature?.begin(options, run)) ?? { settings: value } });
  }
  return parts;
}
