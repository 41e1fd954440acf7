/** Uses its thread's `parentPort` as a script of its own kind would, with messages that look like ours. */
import { parentPort } from "node:worker_threads";

/** Without a connection. */
export function workerInit(): void {}

export function workerDo(unit: unknown): void {
  if (unit === "close")
    parentPort?.close?.(); // Deno has none
  else parentPort?.postMessage(unit);
}
