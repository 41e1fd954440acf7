/** The way of the queries from their source into segments, a few segments ahead of the workers. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { inspect } from "node:util";
import { findUncloneable } from "../myglobals.ts";
import { nounOf } from "../shared/query.ts";
import type { Reading } from "../shared/reading.ts";
import type { Segment } from "../shared/segment.ts";
import { RefusedError } from "./errors.ts";
import type { Source, WorkOptions } from "./options.ts";
import { Packer } from "./packer.ts";
import type { Records } from "./records.ts";

/** Segments that have queries left to claim, at the most: what is read ahead. */
const segmentsAhead = 2;
/** How long the source may keep this thread busy before others get their turn. */
const busyMs = 10;

/** Says whether a query is one of the shard's. */
export function isOurs(seq: number, shard: WorkOptions["shard"]): boolean {
  return !shard || (seq - shard.index) % shard.count === 0;
}

export class Feed {
  /** Resolves when the source has come to its end, or has thrown; rejects if a query cannot be run. */
  readonly ended: Promise<void>;
  readonly #source: Source<unknown>;
  readonly #reading: Reading;
  readonly #select: (seq: number, unit: unknown) => boolean;
  readonly #records: Records;
  readonly #release: (segment: Segment) => void;
  readonly #packer = new Packer();
  #turnAt = performance.now();
  #isRead = false;
  #failure: { readonly error: unknown } | undefined;
  #isRefused = false;
  #isStopped = false;
  #wake = () => {};

  /**
   * @param select says whether a query is to be run; is asked once about each, in order.
   * @param release takes each segment.
   * @throws TypeError for what queries cannot be read from.
   */
  constructor(
    source: Source<unknown>,
    reading: Reading,
    records: Records,
    select: (seq: number, unit: unknown) => boolean,
    release: (segment: Segment) => void,
  ) {
    this.#source = source;
    this.#reading = reading;
    this.#records = records;
    this.#select = select;
    this.#release = release;
    reading.begin();
    this.ended = this.#read().finally(() => reading.end());
  }

  /** True if no more queries will come. */
  get isOver(): boolean {
    return this.#isRead || this.#failure !== undefined;
  }

  /** The error that the source has thrown. The queries that it gave before are run all the same. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failure;
  }

  /** How many queries there are to run, those of an earlier run counted; unknown while a stream has not ended. */
  get total(): number | undefined {
    if (this.#isRead) return this.#records.released + this.#records.tally.earlier;
    return totalOf(this.#source, this.#reading.shard);
  }

  /** Goes on when the workers need more; to be called whenever they have claimed something. */
  readOn(): void {
    const ahead = this.#records.open.length;
    if (ahead === 0) this.#flush();
    if (ahead < segmentsAhead) this.#wake();
  }

  /** Reads nothing more, and returns what was read and not yet released. */
  stop(): Segment | undefined {
    this.#isStopped = true;
    this.#reading.end();
    this.#wake();
    return this.#packer.size > 0 ? this.#packer.seal() : undefined;
  }

  async #read(): Promise<void> {
    try {
      await this.#readAll();
      if (!this.#isStopped) this.#isRead = true;
    } catch (error) {
      if (this.#isRefused) throw error;
      this.#failure = { error };
    }
    this.#flush();
  }

  async #readAll(): Promise<void> {
    const batches = batchesOf(this.#source);
    if (batches) {
      for await (const batch of batches) {
        for (const unit of batch) {
          if (this.#isStopped) return;
          this.#add(unit);
          if (this.#packer.full) await this.#room();
        }
        if (this.#isBusy) await this.#nextTurn();
      }
    } else {
      for await (const unit of this.#source) {
        if (this.#isStopped) return;
        this.#add(unit);
        if (this.#packer.full) await this.#room();
        if (this.#isBusy) await this.#nextTurn();
      }
    }
  }

  #add(unit: unknown): void {
    const seq = ++this.#reading.seq;
    this.#isRefused = true; // should one of these throw
    const isSelected = this.#select(seq, unit);
    if (isSelected) this.#pack(unit, seq);
    this.#isRefused = false;
    if (!isSelected) return;
    // What a slow source has yielded by the end of this turn of the event loop does not wait for more.
    if (this.#packer.size === 1) setImmediate(() => this.#records.open.length === 0 && this.#flush());
  }

  /** Waits until the workers need what is read. */
  async #room(): Promise<void> {
    while (this.#records.open.length >= segmentsAhead && !this.#isStopped) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#flush();
  }

  get #isBusy(): boolean {
    return performance.now() - this.#turnAt > busyMs;
  }

  /** What the workers say may be heard late, as long as the source is busy. */
  async #nextTurn(): Promise<void> {
    if (this.#records.open.length === 0) this.#flush();
    await nextTurn();
    this.#turnAt = performance.now();
  }

  /** @throws RefusedError for a unit that cannot travel. */
  #pack(unit: unknown, seq: number): void {
    try {
      this.#packer.add(unit, seq);
    } catch (error) {
      const noun = nounOf(unit);
      const why = findUncloneable(unit, noun) ?? (error as Error).message;
      throw new RefusedError(`Cannot send ${noun} ${seq} to a worker: ${why}`, { cause: error });
    }
  }

  #flush(): void {
    if (this.#packer.size > 0 && !this.#isStopped) this.#release(this.#packer.seal(this.#records.takeSpare()));
  }
}

/** @throws TypeError for what queries cannot be read from. */
export function checkSource(source: unknown): void {
  const { [Symbol.iterator]: iterator, [Symbol.asyncIterator]: asyncIterator } = Object(source);
  if (typeof source !== "string" && (iterator || asyncIterator)) return;
  const what = source instanceof Promise ? "a promise: await it" : inspect(source, { depth: 0 });
  throw new TypeError(`Cannot read the queries: they must come from an iterable or async iterable, not from ${what}`);
}

/** How many queries a source has for a shard, where it says so. */
export function totalOf(source: Source<unknown>, shard: WorkOptions["shard"]): number | undefined {
  const { length, size } = source as { length?: unknown; size?: unknown };
  const total = typeof length === "number" ? length : typeof size === "number" ? size : undefined;
  return total === undefined || !shard ? total : Math.ceil((total - shard.index + 1) / shard.count);
}

const batches = Symbol("batches");

/** A source of queries, one at a time for everybody, and in batches for `batchesOf()`. */
export function inBatches<Unit>(source: AsyncIterable<readonly Unit[]>): AsyncIterable<Unit> {
  return {
    [batches]: source,
    async *[Symbol.asyncIterator]() {
      for await (const batch of source) yield* batch;
    },
  } as AsyncIterable<Unit>;
}

/** The batches of such a source; undefined for any other. */
function batchesOf(source: unknown): AsyncIterable<readonly unknown[]> | undefined {
  return (source as { [batches]?: AsyncIterable<readonly unknown[]> })[batches];
}
