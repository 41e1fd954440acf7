/** The rows that the reader of stdout may not have read. */
import type { Output } from "../../command/output.ts";

/** A pipe or a socket holds at most so many bytes that nobody has read: 1 MiB is what Linux lets a user set. */
const pipeBytes = 1 << 20;

/** Remembers rows until it is certain that the reader of stdout has read them. */
export class UnreadRows {
  readonly #output: Output;
  readonly #unwritten = new Set<Uint8Array>();
  #recent: Uint8Array[] = [];
  #recentBytes = 0;
  #before: Uint8Array[] = [];
  readonly #lost = new Set<number>();

  constructor(output: Output) {
    this.#output = output;
  }

  /** Takes rows that are to be written next. Returns the `onWritten` of their `write()`. */
  add(lines: Uint8Array): () => void {
    if (this.#output.failure) this.lost(); // otherwise a query that goes on for hours fills the memory
    this.#unwritten.add(lines);
    return () => {
      this.#unwritten.delete(lines);
      this.#recent.push(lines);
      this.#recentBytes += lines.length;
      if (this.#recentBytes < pipeBytes) return;
      this.#before = this.#recent;
      this.#recent = [];
      this.#recentBytes = 0;
    };
  }

  /** Returns the seq of each query with rows that may not have been read. Complete after `flush()`. */
  lost(): ReadonlySet<number> {
    // What was written before the reader went may have been in the pipe. A file has what was written.
    const written = this.#output.closed ? [...this.#before, ...this.#recent] : [];
    for (const lines of [...written, ...this.#unwritten]) {
      const text = Buffer.from(lines.buffer, lines.byteOffset, lines.length).toString("latin1");
      for (const [, seq] of text.matchAll(/^\{"seq":(\d+)/gm)) this.#lost.add(Number(seq));
    }
    this.#unwritten.clear();
    this.#before = [];
    this.#recent = [];
    return this.#lost;
  }
}
