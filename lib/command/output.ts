/** Writes data to stdout. Its reader may be slow, or may close it. */
import type { Writable } from "node:stream";

export class Output {
  /** Error of the first write that failed. */
  failure: Error | undefined;
  readonly #stream: Writable;
  readonly #waiting = new Set<() => void>();
  #abandoned = false;

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on("error", (error) => this.#fail(error));
  }

  /** True if writing has failed because the reader has closed stdout. */
  get closed(): boolean {
    return (this.failure as NodeJS.ErrnoException | undefined)?.code === "EPIPE";
  }

  /**
   * Writes data, and waits while the stream's buffer is full. Does nothing after a failure.
   *
   * @param onWritten called once the operating system has all of the data.
   */
  write(data: string | Uint8Array, onWritten = () => {}): Promise<void> {
    return this.#write(data, true, onWritten);
  }

  /** Waits until all data is written, or writing has failed. */
  flush(): Promise<void> {
    return this.#write("", false);
  }

  /** Stops waiting for the reader. Data that it still reads is written. */
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

/** Writes to stdout, and waits while its reader is slow. Ends the run if the reader has closed it or the disk is full. */
export async function writeOrEnd(
  lines: string | Uint8Array,
  output: Output,
  drain: AbortController,
  onWritten?: () => void,
): Promise<void> {
  await output.write(lines, onWritten);
  if (output.failure) drain.abort(output.closed ? "the reader of stdout wants no more" : "cannot write to stdout");
}

const escapes: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r" };

/** Escapes line breaks, tabs and backslashes, as the mysql client does. */
export function escapeField(text = ""): string {
  return text.replace(/[\\\n\t\r]/g, (character) => escapes[character]!);
}
