/** Refuses calls in a worker thread of a run. Otherwise each thread of a script that starts runs would start them again. */
import { workerData } from "node:worker_threads";

let reason: string | undefined;

/** Returns true in a thread that a run has started, false in any other. */
export function isThreadOfRun(): boolean {
  return workerData?.myglobals !== undefined && workerData.counters !== undefined;
}

/**
 * Notes a call in a thread that a run has started. The thread then ends that run before it begins anything.
 *
 * @returns the reason to refuse the call, undefined in any other thread.
 */
export function refuseInWorkerThread(name: string): string | undefined {
  if (!isThreadOfRun()) return undefined;
  reason = `Cannot call ${name}() in a worker thread, which imports the script, too: write "if (isMainThread)" before it`;
  return reason;
}

/** Returns the reason if a call was refused in this thread. */
export function refusalOfCall(): string | undefined {
  return reason;
}
