/** Selects the queries of an input that run here. The others belong to another shard, an earlier run, or the session setup. */
import { inspect } from "node:util";
import { sameInput } from "../shared/hash.ts";
import { isQuery, type Query } from "../shared/query.ts";
import type { Outcome } from "../shared/segment.ts";
import { RefusedError } from "./errors.ts";
import type { KnownQueries } from "./feature.ts";
import { isInShard, Keys } from "./keys.ts";
import type { WorkOptions } from "./options.ts";
import type { SessionSetup } from "./session-setup.ts";

type Options = Pick<WorkOptions, "script" | "shard" | "earlier" | "earlierTo" | "onEnded">;

export class Selection {
  /** Word for a part of the input in messages. */
  readonly noun: "query" | "unit";
  readonly #options: Options;
  readonly #known: readonly KnownQueries[];
  readonly #sessionSetup: SessionSetup | undefined;
  readonly #keys: Keys;
  readonly #onEarlier: (outcome: Exclude<Outcome, "skipped">) => void;
  /** Key of the query that was prepared last. */
  #key: string | undefined;
  /** The last query that earlier runs know of, and the name of the source that knows it. */
  readonly #last: { readonly seq: number; readonly by: string };

  /**
   * @param sessionSetup checks session statements. Undefined if nothing runs.
   * @param onEarlier counts a query that an earlier run has ended.
   */
  constructor(
    options: Options,
    known: readonly KnownQueries[],
    sessionSetup: SessionSetup | undefined,
    onEarlier: (outcome: Exclude<Outcome, "skipped">) => void,
  ) {
    this.#options = options;
    this.noun = options.script === undefined ? "query" : "unit";
    this.#keys = new Keys(this.noun);
    this.#known = known;
    this.#sessionSetup = sessionSetup;
    this.#onEarlier = onEarlier;
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
    this.#key = this.#keys.take(seq, unit);
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
    if (outcome !== undefined) this.#onEarlier(outcome);
    return isRun;
  }
}
