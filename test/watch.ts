/** What a test gives to a run to hear nothing of it, and what it holds to reach into one. */
import { Worker } from "node:worker_threads";
import type { Progress } from "../lib/parent/progress.ts";

export const silent: Progress = { update() {}, log() {}, report() {}, stop() {} };

/** Keeps the set of threads that are alive, the youngest last. */
export function captureThreads(t: { mock: typeof import("node:test").mock }): Set<Worker> {
  const alive = new Set<Worker>();
  const { postMessage } = Worker.prototype;
  t.mock.method(Worker.prototype, "postMessage", function (this: Worker, ...values: Parameters<typeof postMessage>) {
    if (!alive.has(this)) this.once("exit", () => alive.delete(this));
    alive.add(this);
    return postMessage.apply(this, values);
  });
  return alive;
}
