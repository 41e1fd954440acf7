/** What a generator of queries can know of the run that reads them, such as `ranges()`. */
import type { Host } from "../mysql/connection.ts";
import type { Outcome } from "./segment.ts";

/** Where a generator keeps what it has found, to find the same when its run is resumed. */
export interface Notes {
  /** True if earlier runs are known to have noted something. */
  readonly isBegun?: boolean;
  /** True if all machines that run the same queries see the same notes. */
  readonly isShared: boolean;
  /** Returns what gives one note after the other. */
  open(name: string): NextNote;
}

/**
 * Returns the next note, one that was found earlier or elsewhere, or else what `find` returns, which is noted before a query that
 * is read after it can be claimed. A note can be JSON; undefined is the end.
 */
export type NextNote = (find: () => Promise<unknown>) => Promise<unknown>;

export interface ReadingListener {
  /** A query has ended, so long after its claim. */
  ended(query: { readonly seq: number; readonly outcome: Outcome; readonly durationMs: number }): void;
  /** The run reads nothing more. */
  over(): void;
}

type Shard = { readonly index: number; readonly count: number };

/** How the workers of a run connect. */
export interface Connecting {
  readonly hosts: readonly Host[];
  readonly connectTimeoutSeconds: number;
  /** How often a statement is sent again. */
  readonly retries: number;
  readonly initCommands: readonly string[];
  /** Is aborted when the run reads nothing more. */
  readonly signal?: AbortSignal;
  /** Tells a person of a connection that is waited for. */
  log(line: string): void;
}

export interface ReadingOptions extends Omit<Connecting, "signal"> {
  readonly workers: number;
  readonly shard?: Shard | undefined;
  readonly notes?: Notes | undefined;
}

/** A run's reading of its queue. It is in the parent, as the generator is: both are in one thread, and nothing is sent. */
export class Reading {
  /** How many may claim a query just now. */
  workers: number;
  readonly shard: Shard | undefined;
  /** Is set before the reading begins. */
  notes: Notes | undefined;
  readonly connecting: Connecting;
  /** The seq of the query that was read last. */
  seq = 0;
  /** The seq of the last query that earlier runs know of: nothing is run before that was read. */
  knownTo = 0;
  readonly #over = new AbortController();
  readonly #listeners = new Set<ReadingListener>();
  readonly #parts: (() => number | undefined)[] = [];
  #names = 0;

  constructor(options: ReadingOptions) {
    const { workers, shard, notes, connectTimeoutSeconds, retries, initCommands, log } = options;
    this.workers = workers;
    this.shard = shard;
    this.notes = notes;
    const hosts = options.hosts.map(({ host, port }) => ({ host, port }));
    this.connecting = { hosts, connectTimeoutSeconds, retries, initCommands, signal: this.#over.signal, log };
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /** How much of the queue has been read, from 0 to 1; undefined unless one generator can tell. */
  get part(): number | undefined {
    return this.#parts.length === 1 ? this.#parts[0]!() : undefined;
  }

  /** Takes what tells how much of its queries a generator has given. */
  measure(part: () => number | undefined): void {
    this.#parts.push(part);
  }

  begin(): void {
    underWay.add(this);
  }

  listen(listener: ReadingListener): void {
    this.#listeners.add(listener);
  }

  /** A name for notes that no other call has got, and that is the same when the run is resumed. */
  nameFor(what: string): string {
    return `${what}.${++this.#names}`;
  }

  ended(query: Parameters<ReadingListener["ended"]>[0]): void {
    if (this.#listeners.size > 0) for (const listener of this.#listeners) listener.ended(query);
  }

  end(): void {
    underWay.delete(this);
    this.#over.abort();
    for (const listener of this.#listeners) listener.over();
  }
}

const readings = Symbol.for("myscript.readings");
/** The process's: a script may have `doWork()` from a file, and `ranges()` from a bundle. */
const own = globalThis as { [readings]?: Set<Reading> };
own[readings] ??= new Set();
const underWay = own[readings];

/** The run that is reading its queue; of several in one process, nobody can tell which one a generator is read by. */
export function currentReading(): Reading | undefined {
  const [reading, another] = underWay;
  return another ? undefined : reading;
}
