/** A script that uses `parentPort` for itself: it closes it, or posts the unit, which looks like a message of the library. */
import { parentPort } from "node:worker_threads";

/** Returns no connection, because the units need none. */
export function workerInit(): void {}

export function workerDo(unit: unknown): void {
  if (unit === "close")
    parentPort?.close?.(); // Deno has none
  else parentPort?.postMessage(unit);
}
