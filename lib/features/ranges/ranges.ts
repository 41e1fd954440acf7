/** Walking a table by key, in ranges of so many rows. */
import type { Connection, ConnectionOptions } from "mysql2";
import type { Connection as PromiseConnection } from "mysql2/promise";
import { load } from "../../load.ts";

/** A part of a table, for a query's WHERE. */
export interface Range {
  /** In parentheses where it needs them, with a placeholder for each of `values`. */
  readonly where: string;
  readonly values: readonly (string | number | bigint)[];
}

export interface RangesOptions {
  /** Rows of a range; with `seconds`, of the first ones. @default 1000 */
  size?: number;
  /** How long the query of a range is to take: its rows become more or fewer by how long those before it took. */
  seconds?: number;
  /** SQL that the rows must meet, without placeholders; it is in each range's `where`, too. */
  where?: string;
  /** The unique index to walk by. @default the primary key or, where that does not do, another one */
  index?: string;
}

/**
 * Walks a table by a unique index, of one or several columns, and yields one range of its rows after the other.
 *
 * When it was looked for, a range had `size` rows that meet `where`, and the last one at least one. No two ranges have a key in
 * common. A row that is there all the time, and meets `where` all the time, is in exactly one of them. One that comes, goes or
 * changes meanwhile is in one or in none; none is beyond the last key at the start, so the walk ends however fast rows are added.
 *
 * In a generator that `doWork()` reads, a run with a ledger or a job log keeps the ranges there: resumed, it has the same again,
 * whatever the data are by then, and goes on behind them. With a ledger, shards and other machines have the same ranges, too:
 * whoever comes first finds them.
 *
 * @param db the server, such as `myglobals.config.db`: `ranges()` makes a connection of its own and closes it. Or a connection of
 * mysql2, which must do nothing else as long as `ranges()` walks; its `wait_timeout` is raised. When the connection is lost, the
 * walk goes on from its last key on a new one, within the connect timeout of the run. That has what the options and
 * `--init-command` say, but not what a script has set on a connection that it gave.
 * @param table `table` or `database.table`; a name that has a dot or a backtick in it is quoted as in SQL.
 * @throws RangeError or TypeError for what cannot be; Error for a table without a unique index that does, and in a shard.
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
