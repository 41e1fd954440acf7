/** Selects the queries of an input that run here. The others belong to another shard, an earlier run, or the session setup. */
import { createHash } from "node:crypto";
import { inspect } from "node:util";
import { sameInput } from "../shared/hash.ts";
import { isQuery, keyOf, nameOfQuery, type Query } from "../shared/query.ts";
import { RefusedError } from "./errors.ts";
import type { KnownQueries } from "./feature.ts";
import type { WorkOptions } from "./options.ts";
import type { Records } from "./records.ts";
import type { SessionSetup } from "./session-setup.ts";

type Options = Pick<WorkOptions, "script" | "shard" | "earlier" | "earlierTo" | "onEnded">;

export class Selection {
  /** Word for a part of the input in messages. */
  readonly noun: "query" | "unit";
  readonly #options: Options;
  readonly #known: readonly KnownQueries[];
  readonly #sessionSetup: SessionSetup | undefined;
  /** Position of each key in the input. */
  readonly #seqs = new Map<string, number>();
  readonly #records: Records;
  /** Key of the query that was prepared last. */
  #key: string | undefined;
  /** The last query that earlier runs know of, and the name of the source that knows it. */
  readonly #last: { readonly seq: number; readonly by: string };

  /** @param sessionSetup checks session statements. Undefined if nothing runs. */
  constructor(
    options: Options,
    known: readonly KnownQueries[],
    records: Records,
    sessionSetup: SessionSetup | undefined,
  ) {
    this.#options = options;
    this.noun = options.script === undefined ? "query" : "unit";
    this.#known = known;
    this.#sessionSetup = sessionSetup;
    this.#records = records;
    const ends = [options.earlierTo ?? { seq: 0, by: "" }, ...known.map(({ to: seq, by }) => ({ seq, by }))];
    this.#last = ends.reduce((last, end) => (end.seq > last.seq ? end : last));
  }

  /** Position of the last query that earlier runs know of. No query is released before the input has reached it. */
  get knownTo(): number {
    return this.#last.seq;
  }

  /** Returns the error for an input that ends before `knownTo`. */
  endedAt(seq: number): RefusedError {
    const { seq: last, by } = this.#last;
    return new RefusedError(
      `The input has changed: it ends with ${this.noun} ${seq}, and ${by} has ${this.noun} ${last}: ${sameInput}`,
    );
  }

  /** Loads what `select()` needs. Returns undefined if nothing is missing. @throws RefusedError for an invalid query. */
  prepare(seq: number, unit: unknown): Promise<void> | undefined {
    if (this.#options.script === undefined && !isQuery(unit)) {
      throw new RefusedError(
        `Cannot run query ${seq}: it must be SQL text or { sql, values }, not ${inspect(unit, { depth: 0 })}; for a workerDo(), doWork() needs the option script: import.meta.url`,
      );
    }
    this.#key = this.#takeKey(seq, unit);
    let all: Promise<void> | undefined;
    for (const known of this.#known) {
      const one = known.prepare(seq, this.#key);
      all = all && one ? Promise.all([all, one]).then(() => {}) : (one ?? all);
    }
    return all;
  }

  /** Returns true if the query runs. Call it once for each query, in order, after `prepare()`. */
  select(seq: number, unit: unknown): boolean {
    const { script, shard, earlier, onEnded } = this.#options;
    const isMine = isInShard(seq, shard, this.#key);
    let outcome = isMine ? earlier?.(seq, unit, script !== undefined) : undefined;
    // Asks about queries of other shards, too: `isDone()` throws if the input is not that of the ledger.
    for (const known of this.#known) {
      if (!known.isDone(seq, unit, this.#key) || !isMine || outcome !== undefined) continue;
      outcome = "done";
      onEnded?.({ seq, outcome, tries: 0, start: Date.now(), durationMs: 0, rows: 0, failure: undefined }, unit);
    }
    const isRun = isMine && outcome === undefined;
    if (script === undefined) this.#sessionSetup?.take(seq, unit as Query, isRun);
    if (outcome !== undefined) this.#records.addEarlier(outcome);
    return isRun;
  }

  /** Returns the key of a query. @throws RefusedError unless all queries have a valid key of their own, or none has one. */
  #takeKey(seq: number, unit: unknown): string | undefined {
    const { noun } = this;
    const key = this.#readKey(seq, unit);
    if (key === undefined && this.#seqs.size === 0) return undefined;
    const name = nameOfQuery(seq, unit, noun);
    if (key === undefined) throw new RefusedError(`Cannot run ${name}: it has no key, and those before it have one`);
    if (seq > this.#seqs.size + 1)
      throw new RefusedError(`Cannot run ${name}: it has a key, and those before it have none`);
    const other = this.#seqs.get(key);
    if (other !== undefined) throw new RefusedError(`Cannot run ${name}: ${noun} ${other} has the same key`);
    this.#seqs.set(key, seq);
    return key;
  }

  #readKey(seq: number, unit: unknown): string | undefined {
    try {
      return keyOf(unit);
    } catch (error) {
      throw new RefusedError(`Cannot run ${this.noun} ${seq}: ${(error as Error).message}`);
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
