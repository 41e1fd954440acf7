/** A file that is only ever appended to, on disk within a time. */
import { type FileHandle, open } from "node:fs/promises";
import { why } from "../../command/errors.ts";

/** Leaves time for the disk: what `writeSoon()` gets is to be there within 200 ms. */
const syncMs = 100;

export class AppendFile {
  readonly #handle: FileHandle;
  readonly #path: string;
  #text = "";
  #timer: NodeJS.Timeout | undefined;
  #written = Promise.resolve();
  #next: Promise<void> | undefined;
  #failure: Error | undefined;
  #isTold = false;

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  /** Appends whole lines; resolves when these, and all that came before, are on disk. @throws Error when they cannot be. */
  async write(lines: string): Promise<void> {
    this.#add(lines);
    await (lines === "" ? this.#written : this.#sync());
    this.#throwFailure();
  }

  /** Appends whole lines; they are on disk within 200 ms. */
  writeSoon(lines: string): void {
    this.#add(lines);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#sync();
    }, syncMs);
  }

  /** Writes what is left; resolves to the reason why not all could be written, if there is one. */
  async flush(): Promise<Error | undefined> {
    await this.#sync();
    this.#isTold = true;
    return this.#failure;
  }

  /** Writes what is left and closes the file. @throws Error when it cannot be written and nobody was told yet. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#sync();
    await this.#handle.close();
    if (!this.#isTold) this.#throwFailure();
  }

  #add(lines: string): void {
    if (!this.#failure) this.#text += lines;
  }

  /** Resolves when all that was added before is on disk; those who come while the disk is busy share the next turn. */
  #sync(): Promise<void> {
    this.#next ??= this.#written.then(() => {
      this.#next = undefined;
      return this.#append();
    });
    this.#written = this.#next;
    return this.#written;
  }

  async #append(): Promise<void> {
    if (this.#text === "" || this.#failure) return;
    const lines = this.#text;
    this.#text = "";
    try {
      await this.#handle.appendFile(lines);
      await this.#handle.datasync();
    } catch (error) {
      // Nothing may follow: half a line may be there, which is read as cut off as long as it is the last.
      this.#failure = new Error(`Cannot write ${this.#path}: ${why(error)}`, { cause: error });
      this.#text = "";
    }
  }

  #throwFailure(): void {
    if (!this.#failure) return;
    this.#isTold = true;
    throw this.#failure;
  }
}

/** So that a new file is still there after a power cut; not every file system can, or needs it. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path).catch(() => undefined);
  await directory?.sync().catch(() => {});
  await directory?.close();
}
