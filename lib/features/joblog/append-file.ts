/** A file that is only appended to. Its lines are on disk within a given time. */
import { type FileHandle, open } from "node:fs/promises";
import { why } from "../../command/errors.ts";

/** Delay in ms before lines of `writeSoon()` are written. It leaves 100 ms for the disk, because they must be there within 200 ms. */
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

  /** Appends whole lines. Resolves when these, and all before them, are on disk. @throws Error if they cannot be written. */
  async write(lines: string): Promise<void> {
    this.#add(lines);
    await (lines === "" ? this.#written : this.#sync());
    this.#throwFailure();
  }

  /** Appends whole lines. They are on disk within 200 ms. */
  writeSoon(lines: string): void {
    this.#add(lines);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#sync();
    }, syncMs);
  }

  /** Writes the remaining lines. Resolves to the error if lines could not be written. */
  async flush(): Promise<Error | undefined> {
    await this.#sync();
    this.#isTold = true;
    return this.#failure;
  }

  /** Writes the remaining lines and closes the file. @throws Error if lines could not be written and no caller got the error yet. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#sync();
    await this.#handle.close();
    if (!this.#isTold) this.#throwFailure();
  }

  #add(lines: string): void {
    if (!this.#failure) this.#text += lines;
  }

  /** Resolves when all lines added so far are on disk. Calls during a write share the next one. */
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
      // No line may follow. Half a line may be on disk, and it is read as cut off only if it is the last one.
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

/** Syncs a directory, so that a new file in it survives a power cut. Ignores errors, because not every file system can do it. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path).catch(() => undefined);
  await directory?.sync().catch(() => {});
  await directory?.close();
}
