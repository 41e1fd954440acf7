/** Finds the rows that the reader of stdout may not have read. */
import type { Output } from "../../command/output.ts";

/** Most unread bytes in a pipe or a socket. 1 MiB is the largest size that Linux lets a user set. */
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

  /** Adds rows that are written next. Returns the `onWritten` callback for their `write()`. */
  add(lines: Uint8Array): () => void {
    if (this.#output.failure) this.lost(); // otherwise a query that runs for hours fills the memory
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
    // If the reader has closed the pipe, the last rows that were written may have been in it. A file has all that was written.
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
