/**
 * The lines of a job log: writing and reading them.
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

export const header = "seq\thash\toutcome\tstart\tseconds\ttries\trows\tcode\tmessage\tquery\n";

/** What a line says. */
export interface Line extends Partial<Omit<Ended, "seq" | "outcome">> {
  readonly seq: number;
  readonly outcome: Outcome | "released" | "reopened";
}

/** A line, with the hash of the query and its beginning. */
export function lineOf(line: Line, hash = "", query = ""): string {
  const { seq, outcome, start = Date.now(), durationMs = 0, tries = 0, rows = 0, warnings = 0 } = line;
  const failure = line.failure ?? (warnings > 0 ? { code: "WARNINGS", message: `${warnings} warnings` } : undefined);
  const times = `${new Date(start).toISOString()}\t${(durationMs / 1000).toFixed(6)}`;
  const texts = `${escapeField(failure?.code)}\t${escapeField(failure?.message)}\t${escapeField(query)}`;
  return `${seq}\t${hash}\t${outcome}\t${times}\t${tries}\t${rows}\t${texts}\n`;
}

/** A line for people. */
export function commentOf(text: string): string {
  return `# ${new Date().toISOString()} ${escapeField(text)}\n`;
}

/** What earlier runs have left. */
export interface Past {
  readonly known: Known;
  /** The highest seq that was released. */
  readonly released: number;
  /** Which shard was released, or "". */
  readonly shard: string;
  /** How much of the file was understood: all but a last line that was cut off. */
  readonly bytes: number;
}

/** How much of a line is looked at, in bytes: the rest is for people. */
const most = 128;

/**
 * Reads a log, line by line: one of any length takes a few bytes a query.
 *
 * @throws UsageError when it is none.
 */
export async function readLog(handle: FileHandle, path: string): Promise<Past> {
  const known = new Known();
  let released = 0;
  let shard = "";
  let bytes = 0;
  let lines = 0;
  let size = 0; // of the chunks so far
  let line = ""; // the beginning of the one that the last chunk has cut
  for await (const chunk of handle.createReadStream({ autoClose: false, start: 0, highWaterMark: 1 << 20 })) {
    let start = 0;
    const upTo = (end: number) => line + chunk.toString("latin1", start, Math.min(end, start + most - line.length));
    for (let end = chunk.indexOf("\n"); end >= 0; end = chunk.indexOf("\n", start)) {
      if (lines++ > 0) read(upTo(end));
      else if (`${upTo(end)}\n` !== header) throw new UsageError(`Cannot use ${path}: it is not a job log`);
      line = "";
      start = end + 1;
      bytes = size + start;
    }
    line = upTo(chunk.length);
    size += chunk.length;
    // The header may have been cut off, too.
    if (lines === 0 && !header.startsWith(line)) throw new UsageError(`Cannot use ${path}: it is not a job log`);
  }
  return { known, released, shard, bytes };

  function read(line: string): void {
    if (line.startsWith("#")) return;
    const [, digits, hash, outcome = ""] = /^(\d+)\t([\da-f]{16})?\t([a-z]+)\t/.exec(line) ?? [];
    const seq = Number(digits);
    if (outcome === "released") {
      released = Math.max(released, seq);
      shard = line.slice(line.lastIndexOf("\t") + 1);
    } else if (!hash || !known.note(seq, outcome, hash)) {
      throw new UsageError(`Cannot use ${path}: line ${lines} is not one of a job log`);
    }
  }
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
    return fields[2] === "done" ? [{ seq, hash: fields[1]!, query }] : [];
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

/** What a state stands for, from 1; `reopened` is added to it. */
const outcomes: readonly string[] = ["done", "failed", "unknown", "skipped"] satisfies Outcome[];
const reopened = 8;

const pageLength = 1 << 16;

/** What a log knows of each query that it has a line about, in 9 bytes: its state, and its hash. */
class Known {
  /** The hash of a query is two numbers of 32 bits each. */
  readonly #pages = new Map<number, { states: Uint8Array; hashes: Uint32Array }>();
  /** The highest seq of all. */
  last = 0;

  has(seq: number): boolean {
    return this.#state(seq) > 0;
  }

  /** Whether the query is the one in the log. */
  matches(seq: number, hash: string): boolean {
    const hashes = this.#pages.get(Math.floor(seq / pageLength))?.hashes;
    const at = (seq % pageLength) * 2;
    return hashes?.[at] === half(hash, 0) && hashes[at + 1] === half(hash, 1);
  }

  /** How the query has ended. */
  outcome(seq: number): Outcome | undefined {
    return outcomes[(this.#state(seq) % reopened) - 1] as Outcome | undefined;
  }

  /** Whether it was released once more after that, and has not ended since. */
  isReopened(seq: number): boolean {
    return this.#state(seq) >= reopened;
  }

  /** Takes note of a line; returns false for what is none. */
  note(seq: number, outcome: string, hash: string): boolean {
    const before = this.#state(seq);
    const state = outcomes.indexOf(outcome) + 1;
    if (outcome === "reopened") this.#set(seq, before | reopened, hash);
    else if (outcome === "skipped" && before >= reopened) this.#set(seq, before - reopened, hash);
    else if (state > 0) this.#set(seq, state, hash);
    else return false;
    return true;
  }

  #state(seq: number): number {
    return this.#pages.get(Math.floor(seq / pageLength))?.states[seq % pageLength] ?? 0;
  }

  #set(seq: number, state: number, hash: string): void {
    const number = Math.floor(seq / pageLength);
    let page = this.#pages.get(number);
    if (!page) {
      page = { states: new Uint8Array(pageLength), hashes: new Uint32Array(pageLength * 2) };
      this.#pages.set(number, page);
    }
    this.last = Math.max(this.last, seq);
    page.states[seq % pageLength] = state;
    for (const index of [0, 1] as const) page.hashes[(seq % pageLength) * 2 + index] = half(hash, index);
  }
}

/** The first or the last 8 of a hash's 16 digits. */
function half(hash: string, index: 0 | 1): number {
  return Number.parseInt(hash.slice(index * 8, index * 8 + 8), 16);
}
