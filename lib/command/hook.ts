/** What a feature of the command adds to a run: the job log, a gate, the signals. */
import type { Failure, Summary, WorkOptions } from "../mp.ts";

/** Is set up before the run and closed after it, the last one first. */
export interface Hook {
  /** What `doWork()` is to know of it; gates of several hooks are put together. */
  readonly options?: WorkOptions;
  /** Looks at a run that has come to its end. @throws Error for what is wrong with it. */
  check?(summary: Summary): unknown;
  /** Returns the seq of each query whose rows may not have been read, where these are not given again. */
  lostRows?(): Promise<ReadonlySet<number>>;
  /** Takes back that these queries are done, as far as they are. Returns those that are unknown now. */
  takeBack?(seqs: ReadonlySet<number>): Promise<Failure[]>;
  /** Makes lasting what it knows of the run, before the summary is printed; returns why it cannot. */
  flush?(): Promise<Error | undefined>;
  close?(): unknown;
  /** The first queries that an earlier run has left unknown. */
  readonly leftUnknown?: readonly { readonly seq: number; readonly unit: unknown }[];
}

/** The options of all hooks, put together. */
export function optionsOf(hooks: readonly Hook[]): WorkOptions {
  const all = hooks.map(({ options }) => options ?? {});
  return { ...Object.assign({}, ...all), gates: all.flatMap(({ gates }) => gates ?? []) };
}
