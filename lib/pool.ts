/** The worker threads, from the parent's side: starting them, hearing of their end, ending them. */
import { Worker } from "node:worker_threads";
import { findUncloneable, myglobals } from "./myglobals.ts";
import type { FromThread, ThreadData, ToThread } from "./thread.ts";

/** One worker thread. */
export interface Thread {
  readonly data: ThreadData;
  readonly send: (message: ToThread) => void;
  readonly terminate: () => void;
  /** Resolves when the thread is gone, with what ended it. */
  readonly exited: Promise<string>;
}

/**
 * Starts a thread.
 *
 * @throws TypeError for a value in `myglobals` that cannot travel, with its path.
 */
export function startThread(data: ThreadData, receive: (message: FromThread) => void): Thread {
  const worker = construct(data);
  let cause: string | undefined;
  worker.on("message", receive);
  worker.on("error", (error: unknown) => {
    cause = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  });
  return {
    data,
    send: (message) => worker.postMessage(message),
    terminate: () => void worker.terminate(),
    exited: new Promise((resolve) => {
      worker.on("exit", (code) => resolve(cause ?? `it ended with exit code ${code}`));
    }),
  };
}

function construct(workerData: ThreadData): Worker {
  try {
    return new Worker(new URL("./boot.js", import.meta.url), {
      workerData,
      execArgv: [], // not the loader of this process, which would only slow it down: boot.js brings what it needs
      resourceLimits: { maxYoungGenerationSizeMb: 8 }, // a query's garbage is small and short-lived
    });
  } catch (error) {
    const found = findUncloneable(myglobals);
    throw found === undefined ? error : new TypeError(`${found}: set it in workerInit()`, { cause: error });
  }
}
