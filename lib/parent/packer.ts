/** Writes queries into segments, in the layout of `shared/segment.ts`. */
import { encodeUnit } from "../shared/query.ts";
import {
  bytesAt,
  header,
  headerBytes,
  offsetsAt,
  recordBytes,
  Segment,
  segmentBytes,
  segmentQueries,
} from "../shared/segment.ts";

/** The last query can make a segment larger. It grows in these steps, so that its memory fits other segments. */
const sizeStep = segmentBytes / 4;

/** Collects queries and seals them into segments. */
export class Packer {
  #scratch = Buffer.allocUnsafe(segmentBytes);
  #offsets: number[] = [];
  #seqs: number[] = [];
  #end = 0;
  #nextId = 0;

  get size(): number {
    return this.#offsets.length;
  }

  /** True if the next query must go to another segment. */
  get full(): boolean {
    return this.size >= segmentQueries || this.#end >= segmentBytes;
  }

  /**
   * Adds a unit and its 1-based position in the input.
   *
   * @throws DataCloneError for a value that `structuredClone` does not take.
   */
  add(unit: unknown, seq: number): void {
    const { encoding, pieces } = encodeUnit(unit);
    let most = 1;
    for (const piece of pieces) most += typeof piece === "string" ? piece.length * 3 : piece.length;
    this.#reserve(most);
    this.#offsets.push(this.#end);
    this.#seqs.push(seq);
    this.#scratch[this.#end++] = encoding;
    for (const piece of pieces) {
      if (typeof piece === "string") this.#end += this.#scratch.write(piece, this.#end, "utf8");
      else {
        this.#scratch.set(piece, this.#end);
        this.#end += piece.length;
      }
    }
  }

  /** Makes a segment of what was added since the last one, in the memory of `spare` if that is large enough. */
  seal(spare?: SharedArrayBuffer): Segment {
    const count = this.size;
    const size = bytesAt + Math.ceil(Math.max(this.#end, segmentBytes) / sizeStep) * sizeStep;
    const shared = spare && spare.byteLength >= size ? spare : new SharedArrayBuffer(size);
    const all = Buffer.from(shared);
    all.fill(0, 0, headerBytes + count * recordBytes);
    const int32 = new Int32Array(shared, 0, headerBytes / 4);
    const float64 = new Float64Array(shared, 0, offsetsAt / 8);
    const offsets = new Uint32Array(shared, offsetsAt, count + 1);
    int32[header.count] = count;
    float64[2] = this.#nextId++;
    for (let index = 0; index < count; index++) {
      float64[(headerBytes + index * recordBytes) / 8 + 4] = this.#seqs[index]!;
      offsets[index] = bytesAt + this.#offsets[index]!;
    }
    offsets[count] = bytesAt + this.#end;
    this.#scratch.copy(all, bytesAt, 0, this.#end);
    this.#offsets = [];
    this.#seqs = [];
    this.#end = 0;
    if (this.#scratch.length > 4 * segmentBytes) this.#scratch = Buffer.allocUnsafe(segmentBytes);
    return new Segment(shared);
  }

  /** Enlarges the buffer if needed. The last query of a segment may exceed the usual size. */
  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#scratch.length) return;
    const larger = Buffer.allocUnsafe(this.#end + bytes);
    this.#scratch.copy(larger, 0, 0, this.#end);
    this.#scratch = larger;
  }
}
