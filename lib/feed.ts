/** The way of the queries from their source into segments, a few segments ahead of the workers. */
import { setImmediate as nextTurn } from "node:timers/promises";
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

/**
 * Starts to read the source.
 *
 * @param ahead says how many segments have queries left to claim.
 * @param release takes each segment; `takeSpare` gives memory that can be used again.
 */
export function startFeed(
  source: Source<unknown>,
  ahead: () => number,
  release: (segment: Segment) => void,
  takeSpare: () => SharedArrayBuffer | undefined,
): Feed {
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
    for await (const unit of source) {
      if (stopped) return;
      packer.add(unit);
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
