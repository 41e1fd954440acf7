/** Starts the worker threads, replaces those that die, and ends them. */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import { findUncloneable, myglobals } from "../myglobals.ts";
import { withCauses } from "../shared/causes.ts";
import type { Counters } from "../shared/counters.ts";
import type { StartFiles } from "../shared/feature-entry.ts";
import { type FromThread, type PlainError, type Settings, type ToThread, toError } from "../shared/messages.ts";
import type { CompleteOptions } from "./options.ts";
import { printLines, unprinted } from "./printed.ts";

/** One worker thread. */
export interface Thread {
  /** Numbers of the workers that it carries. */
  readonly workers: readonly number[];
  send(message: ToThread): void;
  terminate(why?: string): void;
}

/** Members of the run that its pool uses. */
interface Run {
  readonly options: CompleteOptions;
  readonly settings: Omit<Settings, "workers" | "isRenewed" | keyof StartFiles>;
  readonly counters: Counters;
  started(thread: Thread): void;
  message(thread: Thread, message: FromThread): void;
  died(thread: Thread, cause: string): void;
  stop(reason: string): void;
  fail(reason: string): void;
  log(line: string): void;
}

/** Thread deaths without a finished query in between after which the run ends. */
const deathsInARow = 5;
/** Time in ms for a thread to load its modules, in addition to the connect timeout. A thread that has sent no message by then is ended. */
const loadMs = 10_000;
/** Workers that give up within this time are reported in one line. */
const tellMs = 200;

export class Pool {
  readonly #run: Run;
  readonly #settings: Omit<Settings, "workers" | "isRenewed">;
  /** Largest number of workers that were wanted so far, at most `maxWorkers`. */
  #workers = 0;
  readonly #threads = new Map<Thread, Promise<unknown>>();
  readonly #connected = new Set<number>();
  readonly #gaveUp = new Set<number>();
  readonly #hostsDown = new Set<string>();
  /** By thread, the statement that changed the session of one of its connections. */
  readonly #sessionChanges = new WeakMap<Thread, string>();
  #tellTimer: NodeJS.Timeout | undefined;
  #gaveUpBecause = "";
  #waiting = false;
  #deaths = 0;
  #finishedAtDeath = 0;
  #ending = false;

  /** @throws TypeError for a value in `myglobals` that cannot be sent to a thread, with its path. */
  constructor(run: Run, files: StartFiles) {
    this.#run = run;
    this.#settings = { ...run.settings, ...files };
    const { maxWorkers, threads } = run.options;
    const numbers = Array.from({ length: maxWorkers }, (_, index) => index + 1);
    for (let slot = 0; slot < threads; slot++) this.#start(numbers.filter((number) => this.slotOf(number) === slot));
  }

  get threads(): Iterable<Thread> {
    return this.#threads.keys();
  }

  /** Returns the number of the thread that carries a worker, from 0. A thread that replaces it has the same number. */
  slotOf(worker: number): number {
    return worker % this.#run.options.threads;
  }

  /** Returns the number of the `count`-th worker that has not given up, or of the last worker wanted so far if fewer are left. */
  numberOf(count: number): number {
    this.#workers = Math.max(this.#workers, Math.min(count, this.#run.options.maxWorkers));
    let number = 0;
    for (let left = count; number < this.#workers && left > 0; ) if (!this.#gaveUp.has(++number)) left--;
    return number;
  }

  /** Number of workers that have had a connection. */
  get connected(): number {
    return this.#connected.size;
  }

  broadcast(message: ToThread): void {
    for (const thread of this.#threads.keys()) thread.send(message);
  }

  /** Tells the threads to start no further query. Dead threads are not replaced any more. */
  drain(): void {
    this.#ending = true;
    this.broadcast({ type: "drain" });
  }

  /** Ends the threads at once. `why` becomes the cause in the errors of their queries. */
  terminate(why?: string): void {
    for (const thread of this.#threads.keys()) thread.terminate(why);
  }

  /** Ends the thread of a worker at once. It is replaced. `why` becomes the cause in the errors of its queries. */
  terminateThreadOf(worker: number, why: string): void {
    for (const thread of this.#threads.keys()) if (thread.workers.includes(worker)) thread.terminate(why);
  }

  /** Lets the threads end by themselves. Ends those that need more than `graceMs`. */
  async end(graceMs: number): Promise<void> {
    this.#ending = true;
    this.#tellGivenUp();
    this.broadcast({ type: "end" });
    const timer = setTimeout(() => this.terminate(), graceMs);
    await Promise.all(this.#threads.values());
    clearTimeout(timer);
  }

  #start(workers: readonly number[], isRenewed = false): void {
    const { port1: port, port2 } = new MessageChannel(); // a unit of a script may post to its parentPort
    const settings = { ...this.#settings, workers, isRenewed: isRenewed && this.#settings.isOnlyWorker };
    const worker = construct(settings, port2);
    let cause: string | undefined;
    const thread: Thread = {
      workers,
      send: (message) => port.postMessage(message),
      terminate(why) {
        cause ??= why;
        void worker.terminate();
      },
    };
    const limitMs = this.#settings.connectTimeoutMs + loadMs;
    const silence = setTimeout(() => this.#endSilent(thread, limitMs), limitMs);
    const receive = (message: FromThread) => {
      clearTimeout(silence);
      this.#receive(thread, message);
    };
    port.on("message", receive);
    let isError = false;
    worker.on("error", (error: unknown) => {
      isError = true;
      const thrown = toError(error);
      cause ??= `${thrown.name}: ${withCauses(thrown)}`;
    });
    const flush = printLines(worker);
    const exited = new Promise<void>((resolve) => {
      worker.on("exit", (code) => {
        for (let last = receiveMessageOnPort(port); last; last = receiveMessageOnPort(port)) receive(last.message);
        port.close();
        clearTimeout(silence);
        flush();
        this.#threadEnded(thread, cause ?? `it ended with exit code ${code}`, isError);
        resolve();
      });
    });
    this.#threads.set(thread, exited);
    this.#run.started(thread);
  }

  #receive(thread: Thread, message: FromThread): void {
    if (message.type === "connected") {
      this.#connected.add(message.worker);
      this.#waiting = false;
      if (message.host !== undefined && this.#hostsDown.delete(message.host)) {
        this.#run.log(`${message.host} is back`);
      }
    } else if (message.type === "hostDown") {
      if (!this.#hostsDown.has(message.host)) this.#run.log(`${message.error.message}: trying the other hosts`);
      this.#hostsDown.add(message.host);
    } else if (message.type === "waiting") {
      const seconds = this.#settings.connectTimeoutMs / 1000;
      if (!this.#waiting) this.#run.log(`${message.error.message}: trying again for up to ${seconds} s`);
      this.#waiting = true;
    } else if (message.type === "workerGaveUp") this.#giveUp(message.worker, message.error);
    else if (message.type === "sessionChanged") this.#sessionChanges.set(thread, message.statement);
    this.#run.message(thread, message);
  }

  #giveUp(worker: number, { message }: PlainError): void {
    this.#gaveUp.add(worker);
    const left = this.#workers - this.#gaveUp.size;
    this.#gaveUpBecause = message;
    if (left === 0 && this.#connected.size > 0) this.#run.stop(message);
    else if (left === 0) this.#run.fail(message);
    else if (!this.#ending) this.#tellTimer ??= setTimeout(() => this.#tellGivenUp(), tellMs);
  }

  #tellGivenUp(): void {
    if (!this.#tellTimer) return;
    clearTimeout(this.#tellTimer);
    this.#tellTimer = undefined;
    const left = this.#workers - this.#gaveUp.size;
    if (left > 0) this.#run.log(`${this.#gaveUpBecause}: going on with ${left} of ${this.#workers} workers`);
  }

  /** Ends a thread that has sent no message in time. It is not replaced, because another one would be as silent. */
  #endSilent(thread: Thread, limitMs: number): void {
    const message = `A thread did not start within ${Math.round(limitMs / 1000)} s`;
    for (const worker of thread.workers) this.#giveUp(worker, { code: "THREAD_SILENT", message });
    thread.terminate(message);
  }

  #threadEnded(thread: Thread, cause: string, isError: boolean): void {
    this.#threads.delete(thread);
    // A thread ends by itself when its workers have all given up, or when the run is over.
    const isExpected = thread.workers.every((number) => this.#gaveUp.has(number));
    this.#run.died(thread, cause);
    if (this.#ending && isError) this.#run.fail(`A thread died while the run ended: ${cause}`);
    if (this.#ending || isExpected) return;
    const { done, failed } = this.#run.counters.read();
    const finished = done + failed;
    this.#deaths = finished > this.#finishedAtDeath ? 1 : this.#deaths + 1;
    this.#finishedAtDeath = finished;
    this.#run.log(`A thread died: ${cause}`);
    for (const number of thread.workers) this.#gaveUp.delete(number);
    const statement = this.#sessionChanges.get(thread);
    if (statement !== undefined) this.#run.fail(`Cannot go on: a thread died, and with it what ${statement} has set`);
    else if (this.#deaths >= deathsInARow) this.#run.fail(`Threads die before they finish anything: ${cause}`);
    else this.#start(thread.workers, true);
  }
}

function construct(settings: Settings, port: MessagePort): Worker {
  try {
    return new Worker(new URL("../boot.js", import.meta.url), {
      workerData: { ...settings, port },
      transferList: [port],
      ...unprinted,
      execArgv: [], // without the loader of this process, which slows a thread down; boot.js loads what it needs
      resourceLimits: { maxYoungGenerationSizeMb: 8 }, // a query's garbage is small and short-lived
    });
  } catch (error) {
    port.close();
    const found = findUncloneable(myglobals);
    throw found === undefined ? error : new TypeError(`${found}: set it in workerInit()`, { cause: error });
  }
}
