/** A progress that prints nothing, a gate of watches, and the threads of a run. */
import { Worker } from "node:worker_threads";
import { type Watch, WatchGate } from "../lib/command/link.ts";
import type { Progress } from "../lib/parent/progress.ts";

export const silent: Progress = { update() {}, log() {}, report() {}, stop() {} };

export async function gateOf(...watches: readonly Promise<Watch>[]): Promise<WatchGate> {
  const gate = new WatchGate();
  await gate.replace(watches);
  return gate;
}

/** Records worker threads from now on. Returns the set of those that are alive, the newest last. */
export function captureThreads(t: { mock: typeof import("node:test").mock }): Set<Worker> {
  const alive = new Set<Worker>();
  const { on } = Worker.prototype;
  t.mock.method(Worker.prototype, "on", function (this: Worker, ...listener: Parameters<typeof on>) {
    on.apply(this, listener);
    if (listener[0] !== "exit" || alive.has(this)) return this;
    alive.add(this);
    return this.once("exit", () => alive.delete(this));
  });
  return alive;
}
