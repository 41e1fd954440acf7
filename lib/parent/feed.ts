/** Reads the queries from their source into segments, a few segments ahead of the workers. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { inspect } from "node:util";
import { findUncloneable } from "../myglobals.ts";
import type { Segment } from "../shared/segment.ts";
import type { SourceContext } from "../shared/source-context.ts";
import { RefusedError } from "./errors.ts";
import { HeldSegments } from "./held.ts";
import type { Source, WorkOptions } from "./options.ts";
import { Packer } from "./packer.ts";
import type { Records } from "./records.ts";
import type { Selection } from "./selection.ts";

/** Segments with unclaimed queries at which the source is not read further. */
const segmentsAhead = 2;
/** Time in ms after which reading yields to the event loop. */
const busyMs = 10;

export class Feed {
  /** Resolves when the source has ended or has thrown. Rejects if a query cannot run. */
  readonly ended: Promise<void>;
  readonly #source: Source<unknown>;
  readonly #context: SourceContext;
  readonly #selection: Selection;
  readonly #records: Records;
  readonly #release: (segment: Segment) => void;
  readonly #packer = new Packer();
  readonly #held = new HeldSegments();
  #turnAt = performance.now();
  #isRead = false;
  #failure: { readonly error: unknown } | undefined;
  #isRefused = false;
  #isStopped = false;
  #wake = () => {};

  /** @param release receives each segment. */
  constructor(
    source: Source<unknown>,
    context: SourceContext,
    records: Records,
    selection: Selection,
    release: (segment: Segment) => void,
  ) {
    this.#source = source;
    this.#context = context;
    this.#records = records;
    this.#selection = selection;
    this.#release = release;
    context.knownTo = selection.knownTo;
    context.begin();
    this.ended = this.#read().finally(() => context.end());
  }

  /** True if no more queries will come. */
  get isOver(): boolean {
    return this.#isRead || this.#failure !== undefined;
  }

  /** The error that the source threw. The queries that came before it still run. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failure;
  }

  /** Number of queries, including those that an earlier run has ended. Undefined while a stream has not ended. */
  get total(): number | undefined {
    if (this.#isRead) return this.#records.released + this.#records.tally.earlier;
    return totalOf(this.#source, this.#context.shard);
  }

  /** Estimated number of queries, if the source can estimate it before its end. */
  get about(): number | undefined {
    const { part, seq, shard } = this.#context;
    if (!part || this.total !== undefined) return undefined;
    const calm = Number((seq / part / (shard?.count ?? 1)).toPrecision(2)); // other digits change too often to be read
    return Math.max(Math.round(calm), this.#records.released + this.#records.tally.earlier);
  }

  /** Goes on reading if the workers need more. Call it whenever they may have claimed queries. */
  readOn(): void {
    const ahead = this.#records.open.length;
    if (ahead === 0) this.#flush();
    if (ahead < segmentsAhead) this.#wake();
  }

  /** Stops reading. Returns the queries that were read and not released. Held segments count as not read. */
  stop(): Segment | undefined {
    this.#isStopped = true;
    this.#context.end();
    this.#wake();
    this.#held.clear();
    return this.#packer.size > 0 ? this.#packer.seal() : undefined;
  }

  async #read(): Promise<void> {
    try {
      await this.#readAll();
      if (this.#isHolding && !this.#isStopped) throw this.#selection.endedAt(this.#context.seq);
      await this.#room();
      if (!this.#isStopped) this.#isRead = true;
    } catch (error) {
      if (this.#isRefused || this.#isHolding) throw error;
      this.#failure = { error };
    }
    this.#flush();
  }

  /** True until the input has reached the last query that earlier runs know of. Until then it may turn out to be another input. */
  get #isHolding(): boolean {
    return this.#context.seq < this.#selection.knownTo;
  }

  async #readAll(): Promise<void> {
    const batches = batchesOf(this.#source);
    if (batches) {
      for await (const batch of batches) {
        for (const unit of batch) {
          if (this.#isStopped) return;
          const prepared = this.#prepare(unit);
          if (prepared) await prepared;
          this.#add(unit);
          if (this.#isFull) await this.#room();
        }
        if (this.#isBusy) await this.#nextTurn();
      }
    } else {
      for await (const unit of this.#source) {
        if (this.#isStopped) return;
        const prepared = this.#prepare(unit);
        if (prepared) await prepared;
        this.#add(unit);
        if (this.#isFull) await this.#room();
        if (this.#isBusy) await this.#nextTurn();
      }
    }
  }

  #prepare(unit: unknown): Promise<void> | undefined {
    this.#isRefused = true; // until #add() has succeeded
    return this.#selection.prepare(this.#context.seq + 1, unit);
  }

  #add(unit: unknown): void {
    const seq = ++this.#context.seq;
    this.#isRefused = true; // if one of these throws
    const isSelected = this.#selection.select(seq, unit);
    if (isSelected) this.#pack(unit, seq);
    this.#isRefused = false;
    // What a slow source has yielded by the end of this turn of the event loop is released without waiting for more.
    if ((isSelected && this.#packer.size === 1) || seq === this.#selection.knownTo)
      setImmediate(() => this.#records.open.length === 0 && this.#flush());
  }

  /** True if another query fits only after a segment was released or held. */
  get #isFull(): boolean {
    return this.#packer.full || (this.#held.size > 0 && !this.#isHolding);
  }

  /** Holds the segment, or waits until the workers need it. */
  async #room(): Promise<void> {
    if (this.#isHolding) {
      this.#held.push(this.#packer.seal());
      return;
    }
    while (this.#isFull && !this.#isStopped) {
      while (this.#records.open.length >= segmentsAhead && !this.#isStopped) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      this.#flush();
    }
  }

  get #isBusy(): boolean {
    return performance.now() - this.#turnAt > busyMs;
  }

  /** Lets other events run. Releases first, because messages of idle workers arrive late while the source is busy. */
  async #nextTurn(): Promise<void> {
    if (this.#records.open.length === 0) this.#flush();
    await nextTurn();
    this.#turnAt = performance.now();
  }

  /** @throws RefusedError for a unit that cannot be sent to a thread. */
  #pack(unit: unknown, seq: number): void {
    try {
      this.#packer.add(unit, seq);
    } catch (error) {
      const { noun } = this.#selection;
      const why = findUncloneable(unit, noun) ?? (error as Error).message;
      throw new RefusedError(`Cannot send ${noun} ${seq} to a worker: ${why}`, { cause: error });
    }
  }

  #flush(): void {
    if (this.#isStopped || this.#isHolding) return;
    const held = this.#held.shift();
    if (held) this.#release(held);
    else if (this.#packer.size > 0) this.#release(this.#packer.seal(this.#records.takeSpare()));
  }
}

/** @throws TypeError if the source is not iterable. */
export function checkSource(source: unknown): void {
  const { [Symbol.iterator]: iterator, [Symbol.asyncIterator]: asyncIterator } = Object(source);
  if (typeof source !== "string" && (iterator || asyncIterator)) return;
  const what = source instanceof Promise ? "a promise: await it" : inspect(source, { depth: 0 });
  throw new TypeError(`Cannot read the queue: it must be an iterable or async iterable, not ${what}`);
}

/** Returns the number of queries that a source has for a shard, if it has a `length` or `size`. */
export function totalOf(source: Source<unknown>, shard: WorkOptions["shard"]): number | undefined {
  const { length, size } = source as { length?: unknown; size?: unknown };
  const total = typeof length === "number" ? length : typeof size === "number" ? size : undefined;
  return total === undefined || !shard ? total : Math.ceil((total - shard.index + 1) / shard.count);
}

const batches = Symbol("batches");

/** Makes a source of single queries from batches. The feed reads the batches, which saves an await per query. */
export function inBatches<Unit>(source: AsyncIterable<readonly Unit[]>): AsyncIterable<Unit> {
  return {
    [batches]: source,
    async *[Symbol.asyncIterator]() {
      for await (const batch of source) yield* batch;
    },
  } as AsyncIterable<Unit>;
}

/** Returns the batches of a source that `inBatches()` made, undefined for any other. */
function batchesOf(source: unknown): AsyncIterable<readonly unknown[]> | undefined {
  return (source as { [batches]?: AsyncIterable<readonly unknown[]> })[batches];
}
