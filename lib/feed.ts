/** The way of the queries from their source into segments, a few segments ahead of the workers. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { inspect } from "node:util";
import type { Source } from "./options.ts";
import { Packer, type Segment } from "./queue.ts";

/** Segments that have queries left to claim, at the most: what is read ahead. */
const segmentsAhead = 2;
/** How long the source may keep this thread busy before others get their turn. */
const busyMs = 10;

export interface Feed {
  /** Resolves when the source has come to its end; rejects with what it throws. */
  readonly ended: Promise<void>;
  /** Goes on when the workers need more; to be called whenever they have claimed something. */
  poke(): void;
  /** Reads nothing more, and returns what was read and not yet released. */
  stop(): Segment | undefined;
}

export interface FeedOptions {
  /** Says how many segments have queries left to claim. */
  readonly ahead: () => number;
  /** Says whether a query is to be run. */
  readonly select: (seq: number, unit: unknown) => boolean;
  /** Takes each segment. */
  readonly release: (segment: Segment) => void;
  /** Gives a segment's memory that can be used again. */
  readonly takeSpare: () => SharedArrayBuffer | undefined;
}

/** Starts to read the source. */
export function startFeed(source: Source<unknown>, { ahead, select, release, takeSpare }: FeedOptions): Feed {
  const packer = new Packer();
  let stopped = false;
  let wake = () => {};
  return {
    ended: read(),
    poke() {
      if (ahead() === 0) flush();
      if (ahead() < segmentsAhead) wake();
    },
    stop() {
      stopped = true;
      wake();
      return packer.size > 0 ? packer.seal() : undefined;
    },
  };

  async function read(): Promise<void> {
    let turnAt = performance.now();
    let seq = 0;
    for await (const unit of source) {
      if (stopped) return;
      if (select(++seq, unit)) packer.add(unit, seq);
      // What a slow source has yielded by the end of this turn of the event loop does not wait for more.
      if (packer.size === 1) setImmediate(() => ahead() === 0 && flush());
      if (packer.full) {
        while (ahead() >= segmentsAhead && !stopped) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        flush();
      }
      if (performance.now() - turnAt > busyMs) {
        await nextTurn();
        turnAt = performance.now();
      }
    }
    flush();
  }

  function flush(): void {
    if (packer.size > 0 && !stopped) release(packer.seal(takeSpare()));
  }
}

/** @throws TypeError for what queries cannot be read from. */
export function checkSource(source: unknown): void {
  const { [Symbol.iterator]: iterator, [Symbol.asyncIterator]: asyncIterator } = Object(source);
  if (typeof source !== "string" && (iterator || asyncIterator)) return;
  const what = source instanceof Promise ? "a promise: await it" : inspect(source, { depth: 0 });
  throw new TypeError(`Cannot read the queries: they must come from an iterable or async iterable, not from ${what}`);
}

/** How many queries a source has, where it says so. */
export function lengthOf(source: Source<unknown>): number | undefined {
  const { length, size } = source as { length?: unknown; size?: unknown };
  return typeof length === "number" ? length : typeof size === "number" ? size : undefined;
}
