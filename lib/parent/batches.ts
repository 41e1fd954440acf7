/** Queries that their source gives many at a time: an `await` for each would take longer than all that is done with it. */

const batches = Symbol("batches");

/** A source of queries, one at a time for everybody, and in batches for `batchesOf()`. */
export function inBatches<Unit>(source: AsyncIterable<readonly Unit[]>): AsyncIterable<Unit> {
  return {
    [batches]: source,
    async *[Symbol.asyncIterator]() {
      for await (const batch of source) yield* batch;
    },
  } as AsyncIterable<Unit>;
}

/** The batches of such a source; undefined for any other. */
export function batchesOf(source: unknown): AsyncIterable<readonly unknown[]> | undefined {
  return (source as { [batches]?: AsyncIterable<readonly unknown[]> })[batches];
}
