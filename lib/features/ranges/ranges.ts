/** Walks a table by key, in ranges of rows. */
import type { Connection, ConnectionOptions } from "mysql2";
import type { Connection as PromiseConnection } from "mysql2/promise";
import { load } from "../../load.ts";

/** A part of a table, for a query's WHERE. */
export interface Range {
  /** Condition that may be joined to others with AND, with a placeholder for each of `values`. */
  readonly where: string;
  readonly values: readonly (string | number | bigint)[];
}

export interface RangesOptions {
  /** Rows of a range. With `seconds`, the rows of the first ranges. @default 1000 */
  size?: number;
  /** Target time of one query, in seconds. The range size adapts to the time of earlier queries. @default the size stays the same */
  seconds?: number;
  /** SQL condition on the rows, without placeholders. Each range's `where` contains it. */
  where?: string;
  /** Unique index to walk by. @default the primary key, or another one if that cannot be used */
  index?: string;
}

/**
 * Walks a table by a unique index, of one or several columns, and yields one range of its rows after the other.
 *
 * When a range is made, it has `size` rows that meet `where`, and the last one at least one. No two ranges have a key in common. A
 * row that exists and meets `where` during the whole walk is in exactly one range. A row that is added, deleted or changed
 * meanwhile is in one or in none. No range goes beyond the last key at the start, so the walk ends however fast rows are added.
 *
 * If `doWork()` reads the generator, a run with a ledger or a job log stores the ranges there. A resumed run yields the same ranges
 * again, whatever the data are then, and goes on after them. With a ledger, shards and other machines yield the same ranges, too.
 *
 * @param db connection options, such as `myglobals.config.db`: `ranges()` makes its own connection and closes it. Or a connection of
 * mysql2, which must do nothing else during the walk. Its `wait_timeout` is raised. If the connection is lost, the walk goes on from
 * its last key on a new one, within the connect timeout of the run. The new one has the options and `--init-command`, but not what
 * a script has set on a connection that it gave.
 * @param table `table` or `database.table`. A name with a dot or a backtick must be quoted as in SQL.
 * @throws RangeError or TypeError for an invalid argument. Error if no unique index can be used, and in a shard without a ledger.
 * @example
 * ```ts
 * for await (const { where, values } of ranges(myglobals.config.db, "orders", { size: 1000 })) {
 *   yield { sql: `UPDATE orders SET total = quantity * price WHERE ${where}`, values };
 * }
 * ```
 */
export async function* ranges(
  db: ConnectionOptions | Connection | PromiseConnection,
  table: string,
  options: RangesOptions = {},
): AsyncGenerator<Range> {
  const { walk } = await load("ranges", () => import("./walk.ts"));
  yield* walk(db, table, options);
}
