/** Facts about a run, for the generator of its queries, such as `ranges()`. */
import type { Host } from "../mysql/connection.ts";
import type { Outcome } from "./segment.ts";

/** Storage for the checkpoints of a generator. With them it yields the same queries when its run is resumed. */
export interface Checkpoints {
  /** True if earlier runs are known to have stored checkpoints. */
  readonly isBegun?: boolean;
  /** True if all machines that run the same queries share the checkpoints. */
  readonly isShared: boolean;
  /** Returns a function that returns one checkpoint after the other. */
  open(name: string): NextCheckpoint;
}

/**
 * Returns the next checkpoint that an earlier run or another machine has stored. If there is none, stores and returns the result of
 * `find`. It is stored before any query that is read after it can be claimed. A checkpoint is JSON. undefined means the end.
 */
export type NextCheckpoint = (find: () => Promise<unknown>) => Promise<unknown>;

export interface SourceListener {
  /** A query has ended, `durationMs` after its claim. */
  ended(query: { readonly seq: number; readonly outcome: Outcome; readonly durationMs: number }): void;
  /** The run reads no further query. */
  over(): void;
}

type Shard = { readonly index: number; readonly count: number };

/** Connection settings of the workers of a run. */
export interface Connecting {
  readonly hosts: readonly Host[];
  readonly connectTimeoutSeconds: number;
  /** Most retries of a statement. */
  readonly retries: number;
  readonly initCommands: readonly string[];
  /** Is aborted when the run reads no further query. */
  readonly signal?: AbortSignal;
  /** Shows a line to the user, about a connection that cannot be made yet. */
  log(line: string): void;
}

interface SourceContextOptions extends Omit<Connecting, "signal"> {
  readonly workers: number;
  readonly shard?: Shard | undefined;
}

/** State of a run while it reads its queue. The run and the generator use it in the same thread, without messages. */
export class SourceContext {
  /** Number of workers that may claim a query now. */
  workers: number;
  readonly shard: Shard | undefined;
  /** Set before the run begins to read. */
  checkpoints?: Checkpoints | undefined;
  readonly connecting: Connecting;
  /** Seq of the query that was read last. */
  seq = 0;
  /** Seq of the last query that earlier runs know of. No query runs before that was read. */
  knownTo = 0;
  readonly #over = new AbortController();
  readonly #listeners = new Set<SourceListener>();
  readonly #parts: (() => number | undefined)[] = [];
  #names = 0;

  constructor(options: SourceContextOptions) {
    const { workers, shard, hosts, connectTimeoutSeconds, retries, initCommands, log } = options;
    this.workers = workers;
    this.shard = shard;
    this.connecting = { hosts, connectTimeoutSeconds, retries, initCommands, signal: this.#over.signal, log };
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /** Part of the queue that has been read, from 0 to 1. Undefined unless exactly one generator measures it. */
  get part(): number | undefined {
    return this.#parts.length === 1 ? this.#parts[0]!() : undefined;
  }

  /** Adds a function that returns which part of its queries a generator has yielded, from 0 to 1. */
  measure(part: () => number | undefined): void {
    this.#parts.push(part);
  }

  begin(): void {
    underWay.add(this);
  }

  listen(listener: SourceListener): void {
    this.#listeners.add(listener);
  }

  /** Returns a name for checkpoints. Each call returns another one, and a resumed run gets the same ones. */
  nameFor(what: string): string {
    return `${what}.${++this.#names}`;
  }

  ended(query: Parameters<SourceListener["ended"]>[0]): void {
    if (this.#listeners.size > 0) for (const listener of this.#listeners) listener.ended(query);
  }

  end(): void {
    underWay.delete(this);
    this.#over.abort();
    for (const listener of this.#listeners) listener.over();
  }
}

const contexts = Symbol.for("myscript.contexts");
/** Shared by the copies of this module in a process, because a script may have `doWork()` from a file and `ranges()` from a bundle. */
const own = globalThis as { [contexts]?: Set<SourceContext> };
own[contexts] ??= new Set();
const underWay = own[contexts];

/** Returns the run that is reading its queue. Undefined if several are, because it is not known which one reads a generator. */
export function currentSource(): SourceContext | undefined {
  const [source, another] = underWay;
  return another ? undefined : source;
}
