/** A run's job log: what has been released to the workers and what has ended, on disk. */
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import type { Ended } from "../shared/counters.ts";
import { hashOf } from "../shared/hash.ts";
import { describeUnit } from "../shared/query.ts";
import type { Outcome } from "../shared/segment.ts";
import { UsageError, why } from "./errors.ts";
import { header, lineOf, type Past, readLog } from "./joblog.ts";
import { openLocked } from "./lock.ts";

/** Leaves time for the disk: what has ended is to be there within 200 ms. */
const flushMs = 100;
/** How many of the queries that are left unknown are kept, to be shown. */
const unknownKept = 10;

export interface Journal {
  /** Whether an earlier run has begun: what its connections had set is gone. */
  readonly isResumed: boolean;
  /**
   * What became of a query in an earlier run when it is not to be run again, else undefined; to be asked for every query, once,
   * in the order of the input, before its release.
   *
   * @throws UsageError naming the first seq whose query is not the one in the log.
   */
  earlier(seq: number, unit: unknown): Exclude<Outcome, "skipped"> | undefined;
  /**
   * Notes that queries with a seq up to `seq` may be claimed from now on; resolves when this is on disk.
   *
   * @throws Error when the log cannot be written, now and ever after.
   */
  releaseTo(seq: number): Promise<void>;
  /** Notes how a query ended, `skipped` ones too; on disk within 200 ms. Not for what `earlier()` has answered. */
  ended(ended: Ended, unit: unknown): void;
  /**
   * To be asked when the input has been read to its end.
   *
   * @throws UsageError when the log has queries beyond it.
   */
  checkEnd(): void;
  /** The first queries that `earlier()` has called unknown. */
  readonly leftUnknown: readonly { readonly seq: number; readonly unit: unknown }[];
  /** Writes what is left; resolves to the reason why the log does not have all that has ended, if there is one. */
  flush(): Promise<Error | undefined>;
  /** Writes what is left and lets go of the log. @throws Error when it cannot be written and nobody was told yet. */
  close(): Promise<void>;
}

export interface JournalOptions {
  /** Go on with the log, if it exists. */
  readonly resume: boolean;
  readonly retryFailed: boolean;
  readonly retryUnknown: boolean;
  /** `1/3`: the shard that runs, if not all do. */
  readonly shard?: string;
}

/**
 * Opens the job log and locks it; with `resume`, reads what earlier runs left.
 *
 * @throws UsageError when it is another run's, is there without `resume`, or cannot be opened, written or understood.
 */
export async function openJournal(path: string, options: JournalOptions): Promise<Journal> {
  let handle: FileHandle | undefined;
  try {
    handle = await openLocked(path);
    const { size } = await handle.stat();
    if (size > 0 && !options.resume) {
      throw new UsageError(`Job log ${path} exists: give --resume to go on with it, or remove it`);
    }
    const past = await readLog(handle, path);
    if (past.released > 0 && past.shard !== (options.shard ?? "")) {
      const was = past.shard ? `with --shard ${past.shard}` : "without --shard";
      throw new UsageError(`Cannot resume ${path}: it was written ${was}`);
    }
    if (past.bytes < size) await handle.truncate(past.bytes); // the last line was cut off
    if (past.bytes === 0) {
      await handle.appendFile(header);
      await handle.sync();
      await syncDirectory(dirname(path));
    }
    return createJournal(handle, path, past, options);
  } catch (error) {
    await handle?.close();
    throw error instanceof UsageError ? error : new UsageError(`Cannot use ${path}: ${why(error)}`);
  }
}

function createJournal(handle: FileHandle, path: string, past: Past, options: JournalOptions): Journal {
  /** Queries with an earlier line that are to run again: first to be released, then released and not ended. */
  const toReopen: { seq: number; line: string }[] = [];
  const reopened = new Set<number>();
  let released = past.released;
  let last = 0; // seq of the input
  let text = "";
  let timer: NodeJS.Timeout | undefined;
  let written = Promise.resolve();
  let next: Promise<void> | undefined;
  let failure: Error | undefined;
  let told = false;
  const leftUnknown: { seq: number; unit: unknown }[] = [];

  return {
    isResumed: past.released > 0,
    leftUnknown,
    earlier(seq, unit) {
      const outcome = earlier(seq, unit);
      if (outcome === "unknown" && leftUnknown.length < unknownKept) leftUnknown.push({ seq, unit });
      return outcome;
    },

    async releaseTo(seq) {
      let line = "";
      const later = toReopen.findIndex((query) => query.seq > seq);
      for (const query of toReopen.splice(0, later < 0 ? toReopen.length : later)) {
        reopened.add(query.seq);
        line += query.line;
      }
      if (seq > released) {
        released = seq;
        line += lineOf({ seq, outcome: "released" }, "", options.shard);
      }
      write(line);
      await (line ? sync() : written);
      throwFailure();
    },

    ended(ended, unit) {
      const { seq, outcome } = ended;
      const isReopened = reopened.delete(seq);
      // What this run did not release has nothing to take back.
      if (outcome === "skipped" && !isReopened && (seq <= past.released || seq > released)) return;
      note(ended, unit);
    },

    checkEnd() {
      const known = Math.max(past.known.last, past.released);
      if (last >= known) return;
      throw new UsageError(`The input has changed: it ends with query ${last}, and job log ${path} has query ${known}`);
    },

    async flush() {
      await sync();
      told = true;
      return failure;
    },

    async close() {
      clearTimeout(timer);
      await sync();
      await handle.close();
      if (!told) throwFailure();
    },
  };

  function earlier(seq: number, unit: unknown): Exclude<Outcome, "skipped"> | undefined {
    last = seq;
    const { known } = past;
    const hash = known.has(seq) ? hashOf(unit) : "";
    if (known.has(seq) && !known.matches(seq, hash)) {
      throw new UsageError(`Cannot resume ${path}: query ${seq} is not the one in the log`);
    }
    if (known.has(seq) ? known.isReopened(seq) : seq <= past.released) {
      if (options.retryUnknown) return undefined;
      const failure = { code: "RUN_DIED", message: "Its run ended before it could say", sql: "" };
      note({ seq, outcome: "unknown", tries: 0, start: Date.now(), durationMs: 0, rows: 0, failure }, unit);
      return "unknown";
    }
    const outcome = known.outcome(seq);
    if (outcome === "unknown") return options.retryUnknown ? undefined : "unknown";
    if (outcome === "done" || (outcome === "failed" && !options.retryFailed)) return outcome;
    if (outcome) toReopen.push({ seq, line: lineOf({ seq, outcome: "reopened" }, hash, describeUnit(unit)) });
    return undefined;
  }

  function note(ended: Ended, unit: unknown): void {
    write(lineOf(ended, hashOf(unit), describeUnit(unit)));
    timer ??= setTimeout(() => {
      timer = undefined;
      sync();
    }, flushMs);
  }

  function write(lines: string): void {
    if (!failure) text += lines;
  }

  /** Resolves when all that was written before is on disk; those who come while the disk is busy share the next turn. */
  function sync(): Promise<void> {
    next ??= written.then(() => {
      next = undefined;
      return flush();
    });
    written = next;
    return written;
  }

  async function flush(): Promise<void> {
    if (text === "" || failure) return;
    const lines = text;
    text = "";
    try {
      await handle.appendFile(lines);
      await handle.datasync();
    } catch (error) {
      // Nothing may follow: half a line may be there, which is read as cut off as long as it is the last.
      failure = new Error(`Cannot write ${path}: ${why(error)}`, { cause: error });
      text = "";
    }
  }

  function throwFailure(): void {
    if (!failure) return;
    told = true;
    throw failure;
  }
}

/** So that a new file is still there after a power cut; not every file system can, or needs it. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path).catch(() => undefined);
  await directory?.sync().catch(() => {});
  await directory?.close();
}
