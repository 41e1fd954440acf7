/** The contract between a feature and a worker thread. */
import type { Executor } from "./executor.ts";
import type { Thread } from "./thread.ts";

/** Part of a feature in a worker thread, exported by its `worker.ts`. Its part in the parent sends the `Settings`. */
export interface WorkerFeature<Settings = unknown> {
  /** Prepares the thread before its workers start. */
  extend?(thread: Thread, settings: Settings): void;
  /** Wraps or replaces the executor of one worker. */
  executor?(inner: Executor, thread: Thread, settings: Settings): Executor;
}

/** A feature's part in this thread, and its settings. */
export interface LoadedFeature {
  readonly part: WorkerFeature;
  readonly settings: unknown;
}
