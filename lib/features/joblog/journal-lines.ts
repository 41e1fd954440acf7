/**
 * The lines of a job log: writing and reading them.
 *
 * It is a TSV with a header, and is only ever appended to. The last lines about a query say what is known of it:
 *
 *     done, failed, unknown   how it ended
 *     released                it may be claimed from now on, perhaps once more; with the shard in the place of the query
 *     skipped                 the run ended before its claim: takes back what released it
 *
 * A query is released on disk before a worker can see it. So one whose last line is `released` may have run when its run was
 * killed: it is unknown. The next run that leaves it so says so in a line of its own. An `unknown` query is not `released`
 * again, and is never `skipped`: what a killed run left of it is as unknown.
 *
 * The hash tells whether the query has changed since. A query with a key is known by it, else by its seq.
 *
 * Older logs have no column for the key, `reopened` instead of a second `released`, and a `released` without a hash: it stands
 * for every query up to that one.
 *
 * A line that begins with `#` is about no query. `# ` is for people: what was changed while it ran. `#note`, a tab and a list in
 * JSON, a name and a value, is what a generator of queries has noted, before the queries that it has made of it are released.
 */
import type { FileHandle } from "node:fs/promises";
import { createInterface } from "node:readline";
import { UsageError } from "../../command/errors.ts";
import { escapeField } from "../../command/output.ts";
import type { Ended } from "../../shared/counters.ts";
import type { Outcome } from "../../shared/segment.ts";
import { LoggedQueries } from "./logged-queries.ts";

const oldHeader = "seq\thash\toutcome\tstart\tseconds\ttries\trows\tcode\tmessage\tquery";
export const header = `${oldHeader}\tkey\n`;

/** What a line says. */
export interface Line extends Partial<Omit<Ended, "seq" | "outcome">> {
  readonly seq: number;
  readonly outcome: Outcome;
}

/** A line, with the hash of the query, its beginning, and its key. */
export function lineOf(line: Line, hash: string, query = "", key = ""): string {
  const { seq, outcome, start = Date.now(), durationMs = 0, tries = 0, rows = 0, warnings = 0 } = line;
  const failure = line.failure ?? (warnings > 0 ? { code: "WARNINGS", message: `${warnings} warnings` } : undefined);
  const times = `${new Date(start).toISOString()}\t${(durationMs / 1000).toFixed(6)}`;
  const texts = `${escapeField(failure?.code)}\t${escapeField(failure?.message)}\t${escapeField(query)}`;
  return `${seq}\t${hash}\t${outcome}\t${times}\t${tries}\t${rows}\t${texts}\t${key}\n`;
}

/** The line of a query that may be claimed from now on. */
export function releasedLine(seq: number, hash: string, shard: string, key = ""): string {
  return `${seq}\t${hash}\treleased\t\t\t\t\t\t\t${shard}\t${key}\n`;
}

/** A line for people. */
export function commentOf(text: string): string {
  return `# ${new Date().toISOString()} ${escapeField(text)}\n`;
}

/** What earlier runs have left. */
export interface Past {
  readonly known: LoggedQueries;
  /** The highest seq that was released without a hash: every query up to it was. */
  readonly released: number;
  /** Which shard was released, or ""; undefined if nothing was. */
  readonly shard: string | undefined;
  /** True if its queries have keys; undefined if it has none. */
  readonly isKeyed: boolean | undefined;
  readonly hasNotes: boolean;
  /** How much of the file was understood: all but a last line that was cut off. */
  readonly bytes: number;
}

/** How much of a line is looked at, in bytes, where no key stands at its end: the rest is for people. */
const beginning = 128;

/**
 * Reads a log, line by line: one of any length takes a few bytes a query.
 *
 * @throws UsageError when it is none.
 */
export async function readLog(handle: FileHandle, path: string): Promise<Past> {
  const known = new LoggedQueries();
  let released = 0;
  let shard: string | undefined;
  let isKeyed: boolean | undefined;
  let hasNotes = false;
  let most = beginning;
  let bytes = 0;
  let lines = 0;
  let size = 0; // of the chunks so far
  let line = ""; // the beginning of the one that the last chunk has cut
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
    line = upTo(chunk.length);
    size += chunk.length;
    // The header may have been cut off, too.
    if (lines === 0 && !header.startsWith(line)) throw new UsageError(`Cannot use ${path}: it is not a job log`);
  }
  return { known, released, shard, isKeyed, hasNotes, bytes };

  function read(line: string): void {
    if (line.startsWith("#")) {
      hasNotes ||= line.startsWith(noteStart);
      return;
    }
    const [, digits, hash, outcome = ""] = /^(\d+)\t([\da-f]{16})?\t([a-z]+)\t/.exec(line) ?? [];
    const seq = Number(digits);
    const key = most > beginning ? line.slice(line.lastIndexOf("\t") + 1) : "";
    if (outcome === "released") shard = line.split("\t")[9];
    if (outcome === "released" && !hash) released = Math.max(released, seq);
    else if (hash && known.note(key ? known.idFor(inUtf8(key)) : seq, outcome, hash)) isKeyed = key !== "";
    else throw new UsageError(`Cannot use ${path}: line ${lines} is not one of a job log`);
  }
}

function inUtf8(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString();
}

/** Returns those of the queries whose last line says `done`, with the beginning of their text. */
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

const noteStart = "#note\t";

/** A line with a note; in ASCII, which is read whatever a chunk of the file has cut. */
export function noteOf(name: string, note: unknown): string {
  const ascii = JSON.stringify([name, note]).replace(/[^\0-\x7e]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
  return `${noteStart}${ascii}\n`;
}

/** Reads the notes under a name in the first `bytes` of a log, in order. */
export async function* readNotes(handle: FileHandle, bytes: number, name: string): AsyncGenerator<unknown> {
  if (bytes === 0) return; // a new log
  let cut = "";
  for await (const chunk of handle.createReadStream({ autoClose: false, start: 0, end: bytes - 1 })) {
    const lines = (cut + chunk.toString("latin1")).split("\n");
    cut = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith(noteStart)) continue;
      const [noted, note] = JSON.parse(line.slice(noteStart.length)) as [string, unknown];
      if (noted === name) yield note;
    }
  }
}
