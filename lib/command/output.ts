/** Standard output: data only, for a reader that may be slow, or go away. */
import type { Writable } from "node:stream";

export class Output {
  /** Why something could not be written. */
  failure: Error | undefined;
  readonly #stream: Writable;
  readonly #waiting = new Set<() => void>();
  #abandoned = false;

  constructor(stream: Writable = process.stdout) {
    this.#stream = stream;
    stream.on("error", (error) => this.#fail(error));
  }

  /** Whether nothing could be written because nobody reads any more. */
  get closed(): boolean {
    return (this.failure as NodeJS.ErrnoException | undefined)?.code === "EPIPE";
  }

  /**
   * Writes, and waits while the reader is slow. After a failure it does nothing.
   *
   * @param onWritten is called once the operating system has all of the data.
   */
  write(data: string | Uint8Array, onWritten = () => {}): Promise<void> {
    return this.#write(data, true, onWritten);
  }

  /** Waits until all is written, or cannot be. */
  flush(): Promise<void> {
    return this.#write("", false);
  }

  /** Waits for the reader no more, and still writes what it may take. */
  abandon(): void {
    this.#abandoned = true;
    for (const go of this.#waiting) go();
  }

  #write(data: string | Uint8Array, mayHaveRoom: boolean, onWritten = () => {}): Promise<void> {
    return new Promise((resolve) => {
      const go = () => {
        this.#waiting.delete(go);
        resolve();
      };
      if (this.failure) return resolve();
      this.#waiting.add(go);
      const hasRoom = this.#stream.write(data, (error) => {
        if (error) return this.#fail(error);
        onWritten();
        go();
      });
      if ((hasRoom && mayHaveRoom) || this.#abandoned) go();
    });
  }

  #fail(error: Error): void {
    this.failure ??= error;
    for (const go of this.#waiting) go();
  }
}

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

/** Writes to stdout and waits while its reader is slow; a reader that has gone, or a full disk, ends the run. */
export async function writeOrEnd(
  lines: string | Uint8Array,
  output: Output,
  drain: AbortController,
  onWritten?: () => void,
): Promise<void> {
  await output.write(lines, onWritten);
  if (output.failure) drain.abort(output.closed ? "the reader of stdout wants no more" : "cannot write to stdout");
}
