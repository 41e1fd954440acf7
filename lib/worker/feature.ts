/** What a feature is to a worker thread. */
import type { Executor } from "./executor.ts";
import type { Thread } from "./thread.ts";

/** A feature's part in a worker thread, as its `worker.ts` exports it. `Settings` is what its part in the parent sends. */
export interface WorkerFeature<Settings = unknown> {
  /** Prepares the thread before its workers start. */
  extend?(thread: Thread, settings: Settings): void;
  /** Returns another way of sending queries, or wraps the one that there is. Each worker has one of its own. */
  executor?(inner: Executor, thread: Thread, settings: Settings): Executor;
}

/** A feature's part in this thread, with its settings. */
export interface LoadedFeature {
  readonly part: WorkerFeature;
  readonly settings: unknown;
}
