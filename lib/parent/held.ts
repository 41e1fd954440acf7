/** Keeps segments that must not be released yet: a few in memory, the others in a file. */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Segment } from "../shared/segment.ts";

/** Most segments in memory, each of about 1.2 MB. Further ones go to the file. */
const mostInMemory = 8;

export class HeldSegments {
  readonly #inMemory: Segment[] = [];
  readonly #inFile: { readonly position: number; readonly used: number; readonly size: number }[] = [];
  #fd: number | undefined;
  #end = 0;

  get size(): number {
    return this.#inMemory.length + this.#inFile.length;
  }

  /** @throws Error if the file cannot be written. */
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

  clear(): void {
    this.#inMemory.length = 0;
    this.#inFile.length = 0;
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#end = 0;
  }
}

/** Opens a temporary file and removes its name at once. No other process can open it, and it disappears with this one. */
function openUnnamed(): number {
  const directory = mkdtempSync(join(tmpdir(), "myscript-held-"));
  try {
    return openSync(join(directory, "segments"), "wx+", 0o600);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
