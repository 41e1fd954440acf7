/**
 * The job log: what has been released to the workers and what has ended, on disk.
 *
 * It is a TSV with a header, and is only ever appended to. The last lines about a query say what is known of it:
 *
 *     done, failed, unknown   how it ended
 *     released                it and every query before it may be claimed from now on: one line for many, without a hash;
 *                             with the shard in the place of the query
 *     reopened                it `failed` or was `skipped`, and is released once more by a later run
 *     skipped                 the run ended before its claim: takes back what released or reopened it
 *
 * A query is released on disk before a worker can see it. So one that is `reopened`, or that has no line and is not beyond
 * the highest `released`, may have run when its run was killed: it is unknown. The next run that leaves it so says so in a line
 * of its own. An `unknown` query needs no `reopened`, and is never `skipped`: what a killed run left of it is as unknown.
 *
 * The hash tells whether the input has changed since.
 */
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { hashOf } from "../hash.ts";
import { describeUnit, type Outcome } from "../queue.ts";
import type { Ended } from "../stats.ts";
import { UsageError, why } from "./errors.ts";
import { openLocked } from "./lock.ts";

const header = "seq\thash\toutcome\tstart\tseconds\ttries\trows\tcode\tmessage\tquery\n";
/** Leaves time for the disk: what has ended is to be there within 200 ms. */
const flushMs = 100;
/** How many of the queries that are left unknown are kept, to be shown. */
const unknownKept = 10;

export interface Journal {
  /**
   * What became of a query in an earlier run when it is not to be run again, else undefined; to be asked for every query, once,
   * in the order of the input, before its release.
   *
   * @throws UsageError naming the first seq whose query is not the one in the log.
   */
  earlier(seq: number, unit: unknown): Outcome | undefined;
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

  function earlier(seq: number, unit: unknown): Outcome | undefined {
    last = seq;
    const state = past.known.state(seq);
    const hash = state === nothing ? "" : hashOf(unit);
    if (state !== nothing && past.known.hash(seq) !== shortHash(hash)) {
      throw new UsageError(`Cannot resume ${path}: query ${seq} is not the one in the log`);
    }
    if (state === nothing ? seq <= past.released : state & maybeRun) {
      if (options.retryUnknown) return undefined;
      const failure = { code: "RUN_DIED", message: "Its run ended before it could say", sql: "" };
      note({ seq, outcome: "unknown", tries: 0, start: Date.now(), durationMs: 0, rows: 0, failure }, unit);
      return "unknown";
    }
    const outcome = states[state] as Outcome | undefined;
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

interface Line extends Partial<Omit<Ended, "seq" | "outcome">> {
  readonly seq: number;
  readonly outcome: Outcome | "released" | "reopened";
}

function lineOf(line: Line, hash = "", query = ""): string {
  const { seq, outcome, start = Date.now(), durationMs = 0, tries = 0, rows = 0, failure } = line;
  const times = `${new Date(start).toISOString()}\t${(durationMs / 1000).toFixed(6)}`;
  const texts = `${escapeField(failure?.code)}\t${escapeField(failure?.message)}\t${escapeField(query)}`;
  return `${seq}\t${hash}\t${outcome}\t${times}\t${tries}\t${rows}\t${texts}\n`;
}

const escapes: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r" };

/** Keeps a text on its line: a line break, a tab and a backslash are escaped as the mysql client does. */
export function escapeField(text = ""): string {
  return text.replace(/[\\\n\t\r]/g, (character) => escapes[character]!);
}

function shortHash(hash: string): number {
  return Number.parseInt(hash.slice(0, 8), 16);
}

/** What a state in memory stands for; `maybeRun` is added while the query is reopened. */
const states = ["", "done", "failed", "unknown", "skipped"];
const nothing = 0;
const maybeRun = 8;

const pageLength = 1 << 16;

/** What the log knows of each query, in 5 bytes: its state, and enough of its hash. */
class Known {
  readonly #pages = new Map<number, { states: Uint8Array; hashes: Uint32Array }>();
  /** The highest seq of all. */
  last = 0;

  state(seq: number): number {
    return this.#pages.get(Math.floor(seq / pageLength))?.states[seq % pageLength] ?? nothing;
  }

  hash(seq: number): number | undefined {
    return this.#pages.get(Math.floor(seq / pageLength))?.hashes[seq % pageLength];
  }

  set(seq: number, state: number, hash: number): void {
    const number = Math.floor(seq / pageLength);
    let page = this.#pages.get(number);
    if (!page) {
      page = { states: new Uint8Array(pageLength), hashes: new Uint32Array(pageLength) };
      this.#pages.set(number, page);
    }
    this.last = Math.max(this.last, seq);
    page.states[seq % pageLength] = state;
    page.hashes[seq % pageLength] = hash;
  }
}

interface Past {
  readonly known: Known;
  /** The highest seq that was released. */
  readonly released: number;
  /** Which shard was released, or "". */
  readonly shard: string;
  /** How much of the file was understood: all but a last line that was cut off. */
  readonly bytes: number;
}

/** Reads the log, line by line: a log of any length takes a few bytes a query. */
async function readLog(handle: FileHandle, path: string): Promise<Past> {
  const known = new Known();
  let released = 0;
  let shard = "";
  let bytes = 0;
  let lines = 0;
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of handle.createReadStream({ autoClose: false, start: 0, highWaterMark: 1 << 20 })) {
    rest = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    if (lines === 0 && !isHeader(rest)) throw new UsageError(`Cannot use ${path}: it is not a job log`);
    let start = 0;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n", start)) {
      if (lines++ > 0) read(rest.toString("latin1", start, Math.min(end, start + 128)));
      start = end + 1;
    }
    bytes += start;
    rest = rest.subarray(start);
  }
  return { known, released, shard, bytes };

  function read(line: string): void {
    const [, digits, hash, outcome] = /^(\d+)\t([\da-f]{16})?\t([a-z]+)\t/.exec(line) ?? [];
    const seq = Number(digits);
    const state = states.indexOf(outcome ?? "");
    if (outcome === "released") {
      released = Math.max(released, seq);
      shard = line.slice(line.lastIndexOf("\t") + 1);
    } else if (!hash || (state < 0 && outcome !== "reopened")) {
      throw new UsageError(`Cannot use ${path}: line ${lines} is not one of a job log`);
    } else {
      const before = known.state(seq);
      const after =
        outcome === "reopened"
          ? before | maybeRun
          : outcome === "skipped" && before & maybeRun
            ? before - maybeRun
            : state;
      known.set(seq, after, shortHash(hash));
    }
  }
}

function isHeader(bytes: Buffer): boolean {
  return header.startsWith(bytes.toString("latin1", 0, header.length)); // it may have been cut off, too
}

/** So that a new file is still there after a power cut; not every file system can, or needs it. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path).catch(() => undefined);
  await directory?.sync().catch(() => {});
  await directory?.close();
}
