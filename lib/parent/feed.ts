/** The way of the queries from their source into segments, a few segments ahead of the workers. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { inspect } from "node:util";
import { findUncloneable } from "../myglobals.ts";
import { nounOf } from "../shared/query.ts";
import type { Reading } from "../shared/reading.ts";
import type { Segment } from "../shared/segment.ts";
import { RefusedError } from "./errors.ts";
import { HeldSegments } from "./held.ts";
import type { Source, WorkOptions } from "./options.ts";
import { Packer } from "./packer.ts";
import type { Records } from "./records.ts";

/** Segments that have queries left to claim, at the most: what is read ahead. */
const segmentsAhead = 2;
/** How long the source may keep this thread busy before others get their turn. */
const busyMs = 10;

/** What decides about each query that is read. */
export interface Selection {
  /** Returns a promise if something is to be found out before the query can be decided about. */
  prepare(seq: number, unit: unknown): Promise<void> | undefined;
  /** Returns true for a query that is to be run. It is asked once about each, in order. @throws Error for one that cannot be run. */
  select(seq: number, unit: unknown): boolean;
  /** The position of the last query that earlier runs know of: nothing is released before the input has come to it. */
  readonly knownTo: number;
  /** Says what is wrong with an input that ends before that. */
  endedAt(seq: number): Error;
}

export class Feed {
  /** Resolves when the source has come to its end, or has thrown; rejects if a query cannot be run. */
  readonly ended: Promise<void>;
  readonly #source: Source<unknown>;
  readonly #reading: Reading;
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

  /**
   * @param release takes each segment.
   * @throws TypeError for what queries cannot be read from.
   */
  constructor(
    source: Source<unknown>,
    reading: Reading,
    records: Records,
    selection: Selection,
    release: (segment: Segment) => void,
  ) {
    this.#source = source;
    this.#reading = reading;
    this.#records = records;
    this.#selection = selection;
    this.#release = release;
    reading.knownTo = selection.knownTo;
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

  /** About how many there are to run, if the source can tell before it has come to its end. */
  get about(): number | undefined {
    const { part, seq, shard } = this.#reading;
    if (!part || this.total !== undefined) return undefined;
    const calm = Number((seq / part / (shard?.count ?? 1)).toPrecision(2)); // other digits change too often to be read
    return Math.max(Math.round(calm), this.#records.released + this.#records.tally.earlier);
  }

  /** Goes on when the workers need more; to be called whenever they have claimed something. */
  readOn(): void {
    const ahead = this.#records.open.length;
    if (ahead === 0) this.#flush();
    if (ahead < segmentsAhead) this.#wake();
  }

  /** Reads nothing more, and returns what was read and not yet released. What was held counts as not read. */
  stop(): Segment | undefined {
    this.#isStopped = true;
    this.#reading.end();
    this.#wake();
    this.#held.clear();
    return this.#packer.size > 0 ? this.#packer.seal() : undefined;
  }

  async #read(): Promise<void> {
    try {
      await this.#readAll();
      if (this.#isHolding && !this.#isStopped) throw this.#selection.endedAt(this.#reading.seq);
      await this.#room();
      if (!this.#isStopped) this.#isRead = true;
    } catch (error) {
      if (this.#isRefused || this.#isHolding) throw error;
      this.#failure = { error };
    }
    this.#flush();
  }

  /** True until the input has come to the last query that earlier runs know of: it may still turn out to be another input. */
  get #isHolding(): boolean {
    return this.#reading.seq < this.#selection.knownTo;
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
    this.#isRefused = true; // should it fail
    return this.#selection.prepare(this.#reading.seq + 1, unit);
  }

  #add(unit: unknown): void {
    const seq = ++this.#reading.seq;
    this.#isRefused = true; // should one of these throw
    const isSelected = this.#selection.select(seq, unit);
    if (isSelected) this.#pack(unit, seq);
    this.#isRefused = false;
    // What a slow source has yielded by the end of this turn of the event loop does not wait for more.
    if ((isSelected && this.#packer.size === 1) || seq === this.#selection.knownTo)
      setImmediate(() => this.#records.open.length === 0 && this.#flush());
  }

  /** True if there is no place for another query without releasing some, or holding them. */
  get #isFull(): boolean {
    return this.#packer.full || (this.#held.size > 0 && !this.#isHolding);
  }

  /** Waits until the workers need what is read. */
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
    if (this.#isStopped || this.#isHolding) return;
    const held = this.#held.shift();
    if (held) this.#release(held);
    else if (this.#packer.size > 0) this.#release(this.#packer.seal(this.#records.takeSpare()));
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
