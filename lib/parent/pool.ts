/** The worker threads, from the parent's side: starting them, replacing those that die, ending them. */
import { Worker } from "node:worker_threads";
import { findUncloneable, myglobals } from "../myglobals.ts";
import type { FromThread, PlainError, Settings, ToThread } from "../shared/messages.ts";

/** One worker thread. */
export interface Thread {
  /** The numbers of the workers that it carries. */
  readonly workers: readonly number[];
  send(message: ToThread): void;
  terminate(): void;
}

/** What a pool tells. */
export interface PoolListener {
  /** A thread is there: it has no segments yet. */
  started(thread: Thread): void;
  message(thread: Thread, message: FromThread): void;
  /** A thread is gone, before its time; it will be replaced. */
  died(thread: Thread, cause: string): void;
  /** There is no use in going on; with an `error` when it is the run that went wrong: some have had a connection without it. */
  hopeless(reason: string, error?: Error): void;
  /** What a person should know. */
  log(line: string): void;
}

/** Threads that may die one after the other, without a query that was finished meanwhile. */
const deathsInARow = 5;

export class Pool {
  readonly #workers: number;
  readonly #slots: number;
  readonly #data: Omit<Settings, "workers">;
  readonly #listener: PoolListener;
  readonly #finished: () => number;
  readonly #threads = new Map<Thread, Promise<unknown>>();
  readonly #connected = new Set<number>();
  readonly #gone = new Set<number>();
  readonly #hostsAway = new Set<string>();
  /** By thread, the statement that has set something on one of its connections. */
  readonly #set = new WeakMap<Thread, string>();
  #endedBecause: string | undefined;
  #waiting = false;
  #deaths = 0;
  #finishedAtDeath = 0;
  #ending = false;

  /**
   * @param finished says how many queries have been done or have failed.
   * @throws TypeError for a value in `myglobals` that cannot travel, with its path.
   */
  constructor(
    workers: number,
    threads: number,
    data: Omit<Settings, "workers">,
    finished: () => number,
    listener: PoolListener,
  ) {
    this.#workers = workers;
    this.#slots = threads;
    this.#data = data;
    this.#finished = finished;
    this.#listener = listener;
    const numbers = Array.from({ length: workers }, (_, index) => index + 1);
    for (let slot = 0; slot < threads; slot++) this.#start(numbers.filter((number) => this.slotOf(number) === slot));
  }

  get threads(): Iterable<Thread> {
    return this.#threads.keys();
  }

  /** Which thread carries a worker, counted from 0; the one that replaces it has the same number. */
  slotOf(worker: number): number {
    return worker % this.#slots;
  }

  /** How many workers have had a connection. */
  get connected(): number {
    return this.#connected.size;
  }

  broadcast(message: ToThread): void {
    for (const thread of this.#threads.keys()) thread.send(message);
  }

  /** Starts nothing more, and replaces no thread. */
  drain(): void {
    this.#ending = true;
    this.broadcast({ type: "drain" });
  }

  /** Ends the threads at once; `why` is what those hear who ask what became of their queries. */
  terminate(why?: string): void {
    this.#endedBecause = why;
    for (const thread of this.#threads.keys()) thread.terminate();
  }

  /** Lets the threads end by themselves, and ends those that take longer than `graceMs`. */
  async end(graceMs: number): Promise<void> {
    this.#ending = true;
    this.broadcast({ type: "end" });
    const timer = setTimeout(() => this.terminate(), graceMs);
    await Promise.all(this.#threads.values());
    clearTimeout(timer);
  }

  #start(workers: readonly number[]): void {
    const worker = construct({ ...this.#data, workers });
    const thread: Thread = {
      workers,
      send: (message) => worker.postMessage(message),
      terminate: () => void worker.terminate(),
    };
    let cause: string | undefined;
    worker.on("message", (message: FromThread) => this.#receive(thread, message));
    worker.on("error", (error: unknown) => {
      cause = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    });
    const exited = new Promise<void>((resolve) => {
      worker.on("exit", (code) => {
        this.#bury(thread, cause ?? this.#endedBecause ?? `it ended with exit code ${code}`);
        resolve();
      });
    });
    this.#threads.set(thread, exited);
    this.#listener.started(thread);
  }

  #receive(thread: Thread, message: FromThread): void {
    if (message.type === "connected") {
      this.#connected.add(message.worker);
      this.#waiting = false;
      if (message.host !== undefined && this.#hostsAway.delete(message.host)) {
        this.#listener.log(`${message.host} is back`);
      }
    } else if (message.type === "away") {
      if (!this.#hostsAway.has(message.host)) this.#listener.log(`${message.error.message}: trying the other hosts`);
      this.#hostsAway.add(message.host);
    } else if (message.type === "waiting") {
      const seconds = this.#data.connectTimeoutMs / 1000;
      if (!this.#waiting) this.#listener.log(`${message.error.message}: trying again for up to ${seconds} s`);
      this.#waiting = true;
    } else if (message.type === "gone") this.#giveUp(message.worker, message.error);
    else if (message.type === "set") this.#set.set(thread, message.statement);
    this.#listener.message(thread, message);
  }

  #giveUp(worker: number, { message }: PlainError): void {
    this.#gone.add(worker);
    const left = this.#workers - this.#gone.size;
    if (left === 0) this.#listener.hopeless(message, this.#connected.size === 0 ? new Error(message) : undefined);
    else if (!this.#ending) this.#listener.log(`${message}: going on with ${left} of ${this.#workers} workers`);
  }

  #bury(thread: Thread, cause: string): void {
    this.#threads.delete(thread);
    // A thread whose workers have all given up, or whose work is over, ends by itself.
    const expected = thread.workers.every((number) => this.#gone.has(number));
    this.#listener.died(thread, cause);
    if (this.#ending || expected) return;
    const finished = this.#finished();
    this.#deaths = finished > this.#finishedAtDeath ? 1 : this.#deaths + 1;
    this.#finishedAtDeath = finished;
    this.#listener.log(`A thread died: ${cause}`);
    for (const number of thread.workers) this.#gone.delete(number);
    const statement = this.#set.get(thread);
    let reason: string | undefined;
    if (statement !== undefined) reason = `Cannot go on: a thread died, and with it what ${statement} has set`;
    else if (this.#deaths >= deathsInARow) reason = `Threads die before they finish a query: ${cause}`;
    if (reason === undefined) this.#start(thread.workers);
    else this.#listener.hopeless(reason, new Error(reason));
  }
}

function construct(workerData: Settings): Worker {
  try {
    return new Worker(new URL("../boot.js", import.meta.url), {
      workerData,
      execArgv: [], // not the loader of this process, which would only slow it down: boot.js brings what it needs
      resourceLimits: { maxYoungGenerationSizeMb: 8 }, // a query's garbage is small and short-lived
    });
  } catch (error) {
    const found = findUncloneable(myglobals);
    throw found === undefined ? error : new TypeError(`${found}: set it in workerInit()`, { cause: error });
  }
}
