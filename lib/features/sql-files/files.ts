/** Reads the queries of the files on the command line. */
import { statSync } from "node:fs";
import type { Files } from "../../command/feature.ts";
import { sessionStatement } from "../../mysql/statement.ts";
import { inBatches } from "../../parent/feed.ts";
import { canBeSetup } from "../../parent/session-setup.ts";
import { sqlOf } from "../../shared/query.ts";
import { currentSource } from "../../shared/source-context.ts";
import { type ReadOptions, readBatches } from "./input.ts";
import type { FileQuery } from "./splitter.ts";

/**
 * Opens the files and reads the first queries. So a file that cannot be read ends the command before it starts anything.
 *
 * @param onOrdered is called with the first session statement that is not at the top of the input.
 */
export async function openFiles(
  names: readonly string[],
  options: ReadOptions,
  onOrdered: (at: string, statement: string) => void,
): Promise<Files> {
  let bytesRead = 0;
  const onRead = (bytes: number) => {
    bytesRead += bytes;
  };
  const all = readBatches(names, { ...options, onRead });
  const first = await all.next();
  const size = sizeOf(names);
  let isStarted = false;
  let orderedFrom: string | undefined;
  let isTop = true;
  return {
    queries: inBatches(
      (async function* () {
        isStarted = true;
        if (size !== undefined) currentSource()?.measure(() => Math.min(1, bytesRead / size));
        if (first.done) return;
        yield lookAt(first.value);
        for await (const queries of all) yield lookAt(queries);
      })(),
    ),
    isEmpty: first.done === true,
    get isStarted() {
      return isStarted;
    },
    get orderedFrom() {
      return orderedFrom;
    },
  };

  function lookAt(queries: FileQuery[]): FileQuery[] {
    for (let index = 0; index < queries.length && orderedFrom === undefined; index++) look(queries[index]!);
    return queries;
  }

  function look(query: FileQuery): void {
    const { at } = query;
    if (isTop && canBeSetup(query)) return;
    isTop = false;
    const statement = sessionStatement(sqlOf(query));
    if (!statement) return;
    orderedFrom = at;
    onOrdered(at, statement.name);
  }
}

/** Returns the size of all files together, undefined if one is a stream, such as standard input. */
function sizeOf(names: readonly string[]): number | undefined {
  let size = 0;
  for (const name of names) {
    const stat = name === "-" ? undefined : statSync(name, { throwIfNoEntry: false });
    if (!stat?.isFile()) return undefined;
    size += stat.size;
  }
  return size || undefined;
}
