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

const escapes: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r" };

/** Keeps a text on its line: a line break, a tab and a backslash are escaped as the mysql client does. */
export function escapeField(text = ""): string {
  return text.replace(/[\\\n\t\r]/g, (character) => escapes[character]!);
}
