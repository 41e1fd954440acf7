/** What a test gives to a run to hear nothing of it, and what it holds to reach into one. */
import { Worker } from "node:worker_threads";
import type { Progress } from "../lib/parent/progress.ts";

export const silent: Progress = { update() {}, log() {}, report() {}, stop() {} };

/** Keeps the set of threads that are alive, the youngest last. */
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
