/** Starts the workers of this thread. */
import type { MessagePort } from "node:worker_threads";
import type { Settings } from "../shared/messages.ts";
import { work, workerInit } from "../worker.ts";
import { executorFor } from "./executor.ts";
import type { WorkerDo } from "./scripted.ts";
import { Session, type WorkerInit } from "./session.ts";
import { Thread } from "./thread.ts";

// Node 24 cuts small buffers, such as mysql2's packets, from slabs of 64 KiB. These live so long that V8 takes them for old,
// and frees none before its next full collection: tens of megabytes later.
Buffer.poolSize = 8192;

/** Runs the workers of a thread to their end. */
export async function main(port: MessagePort, settings: Settings): Promise<void> {
  const thread = new Thread(port, settings);
  const own: { workerInit?: WorkerInit; workerDo?: WorkerDo } =
    settings.script === undefined ? {} : await import(settings.script);
  if (own.workerDo) {
    process.on("unhandledRejection", (reason) => {
      if (thread.unitsAwaited === 0) throw reason; // as without this listener: the thread dies
    });
  }
  // A ledger takes queries that the default `workerDo()` runs, on a connection that takes several statements at once.
  const refusal = own.workerDo
    ? "a workerDo() of the script's own: it runs SQL queries"
    : own.workerInit && "a workerInit() of the script's own: set myglobals.config.db";
  if (settings.ledger !== undefined && refusal) {
    thread.post({ type: "refused", reason: `Cannot use a ledger with ${refusal}` });
  } else await Promise.all(settings.workers.map(start));
  thread.unref();

  function start(worker: number): Promise<void> {
    const executor = executorFor(thread, own.workerDo);
    return work(new Session(worker, thread, own.workerInit ?? workerInit), executor, thread);
  }
}
