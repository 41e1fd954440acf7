/**
 * Writes and reads the lines of a job log.
 *
 * It is a TSV file with a header, and is only appended to. The last lines about a query hold its state:
 *
 *     done, failed, unknown   its outcome
 *     released                a worker may claim it from now on, perhaps again; has the shard in the column of the query
 *     skipped                 the run ended before a worker claimed it; cancels the line `released`
 *
 * The line `released` is on disk before a worker can see the query. So if it is the last line, the run was killed, and the query
 * may have run: it is unknown. The next run that leaves it unknown writes a line for that. An `unknown` query is not `released`
 * again and never `skipped`, because it stays unknown if that run is killed, too.
 *
 * The hash shows if the query has changed since. A query is identified by its key, or by its seq if it has none.
 *
 * Older logs have no column for the key, and `reopened` instead of a second `released`. Their `released` without a hash stands for
 * every query up to that seq.
 *
 * A line that begins with `#` is not about a query. `# ` is a comment for people, about a change during the run. `#note`, a tab and
 * a JSON array of name and value is a checkpoint of a generator. It is on disk before the queries made from it are released.
 */
import type { FileHandle } from "node:fs/promises";
import { createInterface } from "node:readline";
import { inspect } from "node:util";
import { UsageError } from "../../command/errors.ts";
import { escapeField } from "../../command/output.ts";
import type { Ended } from "../../shared/counters.ts";
import { isQuery } from "../../shared/query.ts";
import type { Outcome } from "../../shared/segment.ts";
import { LoggedQueries } from "./logged-queries.ts";

const oldHeader = "seq\thash\toutcome\tstart\tseconds\ttries\trows\tcode\tmessage\tquery";
export const header = `${oldHeader}\tkey\n`;

/** Content of a line. */
export interface Line extends Partial<Omit<Ended, "seq" | "outcome">> {
  readonly seq: number;
  readonly outcome: Outcome;
}

/** Returns a line with the hash of the query, its beginning, and its key. */
export function lineOf(line: Line, hash: string, query = "", key = ""): string {
  const { seq, outcome, start = Date.now(), durationMs = 0, tries = 0, rows = 0, warnings = 0 } = line;
  const failure = line.failure ?? (warnings > 0 ? { code: "WARNINGS", message: `${warnings} warnings` } : undefined);
  const times = `${new Date(start).toISOString()}\t${(durationMs / 1000).toFixed(6)}`;
  const texts = `${escapeField(failure?.code)}\t${escapeField(failure?.message)}\t${escapeField(query)}`;
  return `${seq}\t${hash}\t${outcome}\t${times}\t${tries}\t${rows}\t${texts}\t${key}\n`;
}

/** Returns the line of a query that may be claimed from now on. */
export function releasedLine(seq: number, hash: string, shard: string, key = ""): string {
  return `${seq}\t${hash}\treleased\t\t\t\t\t\t\t${shard}\t${key}\n`;
}

/** Returns a comment line for people. */
export function commentOf(text: string): string {
  return `# ${new Date().toISOString()} ${escapeField(text)}\n`;
}

/** Content of the log from earlier runs. */
export interface EarlierRuns {
  readonly known: LoggedQueries;
  /** Highest seq of a `released` line without a hash. Every query up to it was released. */
  readonly released: number;
  /** Shard of the released queries, "" if they had none. Undefined if no query was released. */
  readonly shard: string | undefined;
  /** True if its queries have keys. Undefined if the log has no queries. */
  readonly isKeyed: boolean | undefined;
  readonly hasCheckpoints: boolean;
  /** Length of the file without a last line that was cut off. */
  readonly bytes: number;
}

/** Bytes of a line that are read if it has no key at its end. The rest is for people. */
const beginning = 128;

/**
 * Reads a log line by line. It keeps only a few bytes per query.
 *
 * @throws UsageError if the file is not a job log.
 */
export async function readLog(handle: FileHandle, path: string): Promise<EarlierRuns> {
  const known = new LoggedQueries();
  let released = 0;
  let shard: string | undefined;
  let isKeyed: boolean | undefined;
  let hasCheckpoints = false;
  let most = beginning;
  let bytes = 0;
  let lines = 0;
  let size = 0; // bytes of the chunks so far
  let line = ""; // the beginning of a line that ends in the next chunk
  for await (const chunk of handle.createReadStream({ autoClose: false, start: 0, highWaterMark: 1 << 20 })) {
    let start = 0;
    const upTo = (end: number) => line + chunk.toString("latin1", start, Math.min(end, start + most - line.length));
    for (let end = chunk.indexOf("\n"); end >= 0; end = chunk.indexOf("\n", start)) {
      if (lines++ > 0) read(upTo(end));
      else if (`${upTo(end)}\n` === header) most = Number.POSITIVE_INFINITY;
      else if (upTo(end) !== oldHeader) throw new UsageError(`Cannot use ${path}: it is not a job log`);
      line = "";
      start = end + 1;
      bytes = size + start;
    }
    line = withoutMiddle(upTo(chunk.length));
    size += chunk.length;
    // The header may have been cut off, too.
    if (lines === 0 && !header.startsWith(line)) throw new UsageError(`Cannot use ${path}: it is not a job log`);
  }
  return { known, released, shard, isKeyed, hasCheckpoints, bytes };

  function read(line: string): void {
    if (line.startsWith("#")) {
      hasCheckpoints ||= line.startsWith(checkpointStart);
      return;
    }
    const [, digits, hash, outcome = ""] = /^(\d+)\t([\da-f]{16})?\t([a-z]+)\t/.exec(line) ?? [];
    const seq = Number(digits);
    const last = most > beginning ? line.slice(line.lastIndexOf("\t") + 1) : "";
    const key = last.includes("\0") ? "" : last; // what a power cut has left of a line
    if (outcome === "released") shard = line.split("\t")[9];
    if (outcome === "released" && !hash) released = Math.max(released, seq);
    else if (hash && known.note(key ? known.idFor(Buffer.from(key, "latin1").toString()) : seq, outcome, hash))
      isKeyed = key !== "";
    else throw new UsageError(`Cannot use ${path}: line ${lines} is not one of a job log`);
  }
}

/** Keeps what is read of a line, if it is very long: its beginning and, at its end, the key. */
function withoutMiddle(line: string): string {
  return line.length > 8192 ? line.slice(0, 4096) + line.slice(-4096) : line;
}

/** Returns the queries of `seqs` whose last line is `done`, with the beginning of their text. */
export async function linesDone(handle: FileHandle, seqs: ReadonlySet<number>) {
  const last = new Map<number, string[]>();
  for await (const line of createInterface(handle.createReadStream({ autoClose: false, start: 0 }))) {
    const fields = line.split("\t");
    if (fields[1] && seqs.has(Number(fields[0]))) last.set(Number(fields[0]), fields);
  }
  return [...last].flatMap(([seq, fields]) => {
    const query = fields[9]?.replace(/\\\\/g, "\\") ?? ""; // on one line, a backslash is all that was escaped
    return fields[2] === "done" ? [{ seq, hash: fields[1]!, query, key: fields[10] }] : [];
  });
}

const checkpointStart = "#note\t";

/** Returns a line with a checkpoint. It is ASCII, because a chunk of the file may end within a character. */
export function checkpointLine(name: string, checkpoint: unknown): string {
  const ascii = JSON.stringify([name, checkpoint]).replace(/[^\0-\x7e]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
  return `${checkpointStart}${ascii}\n`;
}

/** Reads the checkpoints under a name in the first `bytes` of a log, in order. */
export async function* readCheckpoints(handle: FileHandle, bytes: number, name: string): AsyncGenerator<unknown> {
  if (bytes === 0) return; // a new log
  let cut = "";
  for await (const chunk of handle.createReadStream({ autoClose: false, start: 0, end: bytes - 1 })) {
    const lines = (cut + chunk.toString("latin1")).split("\n");
    cut = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith(checkpointStart)) continue;
      const [owner, checkpoint] = JSON.parse(line.slice(checkpointStart.length)) as [string, unknown];
      if (owner === name) yield checkpoint;
    }
  }
}

/** Returns the beginning of a query's values on one line, undefined if it has none. */
export function describeValues(unit: unknown): string | undefined {
  const { values } = Object(unit) as { values?: unknown };
  if (!isQuery(unit) || !Array.isArray(values)) return undefined;
  const shortened = { maxStringLength: 60, maxArrayLength: 50, depth: 1, breakLength: Number.POSITIVE_INFINITY };
  return inspect(values, shortened).slice(0, 400);
}
