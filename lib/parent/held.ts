/** Segments that are not to be released yet: a few in memory, the others in a file. */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Segment } from "../shared/segment.ts";

/** Segments that stay in memory. Each has some 1.2 MB. */
const mostInMemory = 8;

export class HeldSegments {
  readonly #inMemory: Segment[] = [];
  readonly #inFile: { readonly position: number; readonly used: number; readonly size: number }[] = [];
  #fd: number | undefined;
  #end = 0;

  get size(): number {
    return this.#inMemory.length + this.#inFile.length;
  }

  /** Adds a segment behind the others. @throws Error if the file cannot be written. */
  push(segment: Segment): void {
    if (this.#inFile.length === 0 && this.#inMemory.length < mostInMemory) {
      this.#inMemory.push(segment);
      return;
    }
    this.#fd ??= openUnnamed();
    const { shared, usedBytes: used } = segment;
    writeSync(this.#fd, new Uint8Array(shared, 0, used), 0, used, this.#end);
    this.#inFile.push({ position: this.#end, used, size: shared.byteLength });
    this.#end += used;
  }

  /** Takes the first one. */
  shift(): Segment | undefined {
    const first = this.#inMemory.shift();
    if (first) return first;
    const written = this.#inFile.shift();
    if (!written) return undefined;
    const shared = new SharedArrayBuffer(written.size);
    readSync(this.#fd!, new Uint8Array(shared), 0, written.used, written.position);
    if (this.size === 0) this.clear();
    return new Segment(shared);
  }

  /** Forgets all of them. */
  clear(): void {
    this.#inMemory.length = 0;
    this.#inFile.length = 0;
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#end = 0;
  }
}

/** Opens a file that nobody else can, and that is gone with this process: its name is removed at once. */
function openUnnamed(): number {
  const directory = mkdtempSync(join(tmpdir(), "myscript-held-"));
  try {
    return openSync(join(directory, "segments"), "wx+", 0o600);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
