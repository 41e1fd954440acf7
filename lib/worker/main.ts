/** Starts the workers of this thread. */
import { basename } from "node:path";
import type { MessagePort } from "node:worker_threads";
import { features } from "../features/index.ts";
import { whyNoServer } from "../myglobals.ts";
import { withCauses } from "../shared/causes.ts";
import { type Settings, toError } from "../shared/messages.ts";
import { refusalOfCall } from "../shared/own-thread.ts";
import { work, workerInit } from "../worker.ts";
import type { LoadedFeature, WorkerFeature } from "./feature.ts";
import type { WorkerInit } from "./hosts.ts";
import { executorFor } from "./plain.ts";
import type { WorkerDo } from "./scripted.ts";
import { Session } from "./session.ts";
import { Thread } from "./thread.ts";

// Node 24 cuts small buffers, such as mysql2's packets, from slabs of 64 KiB. These live so long that V8 moves them to the old
// generation, and frees none before its next full collection, tens of megabytes later.
Buffer.poolSize = 8192;

/** Exports of a script that replace the default functions. */
export interface Script {
  readonly workerInit?: WorkerInit;
  readonly workerDo?: WorkerDo<unknown, unknown>;
}

/**
 * Runs all workers of a thread until they end.
 *
 * @param importScript imports the module with this URL, from the bundle if there is one.
 */
export async function main(
  port: MessagePort,
  settings: Settings,
  importScript: (url: string) => Promise<Script>,
): Promise<void> {
  const thread = new Thread(port, settings);
  try {
    const own: Script = settings.script === undefined ? {} : await load(settings.script, importScript);
    const missing = own.workerInit ? undefined : whyNoServer();
    if (missing) throw new Refusal(missing);
    if (settings.script !== undefined && !own.workerDo) thread.post({ type: "queries" });
    if (own.workerDo) {
      process.on("unhandledRejection", (reason) => {
        if (thread.unitsAwaited === 0) throw reason; // ends the thread, as without this listener
      });
    }
    const parts = await loadFeatures(settings);
    for (const { part, settings } of parts) part.extend?.(thread, settings);
    const { workerInit: init = workerInit, workerDo } = own;
    const start = (worker: number) =>
      work(new Session(worker, thread, init), executorFor(thread, workerDo, parts), thread);
    await Promise.all(settings.workers.map(start));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    thread.endRun("refused", error.message);
  }
  thread.unref();
}

async function loadFeatures({ features: settings }: Settings): Promise<LoadedFeature[]> {
  const asked = features.filter(({ name, worker }) => worker && Object.hasOwn(settings, name));
  return Promise.all(
    asked.map(async ({ name, worker }) => ({
      part: (await worker!()).feature as WorkerFeature,
      settings: settings[name],
    })),
  );
}

/** Error that the user must fix before anything can run. Its message is one line. */
class Refusal extends Error {}

async function load(url: string, importScript: (url: string) => Promise<Script>): Promise<Script> {
  const script = await importScript(url).catch((error) => {
    throw new Refusal(refusalOfCall() ?? `Cannot load the script ${basename(url)}: ${withCauses(toError(error))}`);
  });
  const call = refusalOfCall();
  if (call) throw new Refusal(call);
  if (typeof script.workerInit === "function" || typeof script.workerDo === "function") return script;
  throw new Refusal(`Cannot use the script ${basename(url)}: it exports neither workerDo() nor workerInit()`);
}
