/** Checks the keys of an input: all of its queries have one or none has, and no two are equal. */
import { createHash } from "node:crypto";
import { keyOf, nameOfQuery } from "../shared/query.ts";
import { RefusedError } from "./errors.ts";
import type { WorkOptions } from "./options.ts";

export class Keys {
  readonly #noun: "query" | "unit";
  /** Position of each key in the input. */
  readonly #seqs = new Map<string, number>();
  #count = 0;

  constructor(noun: "query" | "unit") {
    this.#noun = noun;
  }

  /**
   * Returns the key of the next query of the input.
   *
   * @throws RefusedError for an invalid or repeated key, and if only some of the queries have one.
   */
  take(seq: number, unit: unknown): string | undefined {
    const key = this.#read(seq, unit);
    this.#count++;
    if (key === undefined && this.#seqs.size === 0) return undefined;
    const name = nameOfQuery(seq, unit, this.#noun);
    if (key === undefined) throw new RefusedError(`Cannot run ${name}: it has no key, and those before it have one`);
    if (this.#count > this.#seqs.size + 1)
      throw new RefusedError(`Cannot run ${name}: it has a key, and those before it have none`);
    const other = this.#seqs.get(key);
    if (other !== undefined) throw new RefusedError(`Cannot run ${name}: ${this.#noun} ${other} has the same key`);
    this.#seqs.set(key, seq);
    return key;
  }

  #read(seq: number, unit: unknown): string | undefined {
    try {
      return keyOf(unit);
    } catch (error) {
      throw new RefusedError(`Cannot run ${this.#noun} ${seq}: ${(error as Error).message}`);
    }
  }
}

/**
 * Returns true for a query of the shard, every `count`-th one. If queries have keys, the hash of the key decides, because they
 * may come in another order the next time.
 */
export function isInShard(seq: number, shard: WorkOptions["shard"], key?: string): boolean {
  if (!shard) return true;
  const number = key === undefined ? seq : createHash("sha256").update(key).digest().readUInt32BE();
  return (number - shard.index) % shard.count === 0;
}
