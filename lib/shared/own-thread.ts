/** What must not be called in a worker thread of a run: a script that starts runs there would do so without end. */
import { workerData } from "node:worker_threads";

let reason: string | undefined;

/** True in a thread that a run has started, false in one of somebody else's. */
export function isThreadOfRun(): boolean {
  return workerData?.myglobals !== undefined && workerData.counters !== undefined;
}

/**
 * Notes a call in a thread that a run has started: the thread ends that run before it begins anything.
 *
 * @returns why the call is refused; undefined in every other thread, also in one of somebody else's.
 */
export function refuseInWorkerThread(name: string): string | undefined {
  if (!isThreadOfRun()) return undefined;
  reason = `Cannot call ${name}() in a worker thread, which imports the script, too: write "if (isMainThread)" before it`;
  return reason;
}

/** Why a call was refused in this thread, if one was. */
export function refusalOfCall(): string | undefined {
  return reason;
}
