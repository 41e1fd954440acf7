/** Implements `ranges()`. */
import { inspect } from "node:util";
import type { Connection, ConnectionOptions } from "mysql2";
import { connectionIn } from "../../mysql/connection.ts";
import { withValues } from "../../mysql/literal.ts";
import { quoted, splitName } from "../../mysql/names.ts";
import { RefusedError } from "../../parent/errors.ts";
import { Reconnecting } from "../../parent/reconnecting.ts";
import { type Connecting, currentSource, type NextCheckpoint } from "../../shared/source-context.ts";
import { rangeSize } from "./range-size.ts";
import type { Range, RangesOptions, ranges } from "./ranges.ts";
import { type Key, type KeyColumn, type Run, uniqueKeyOf } from "./unique-key.ts";

export async function* walk(
  db: Parameters<typeof ranges>[0],
  table: string,
  options: RangesOptions,
): AsyncGenerator<Range> {
  const { size = 1000, seconds = 0 } = options;
  checkNumber("size", size, Number.isSafeInteger(size) && size > 0, "a positive integer");
  checkNumber("seconds", seconds, seconds >= 0, "a positive number");
  const context = currentSource();
  if (context?.shard && !context.checkpoints?.isShared) {
    throw new Error(
      "Cannot walk a table in a shard: each shard would find ranges of its own. Use a ledger, which keeps them for all shards, or give each a part in `where`",
    );
  }
  const connection = new Reconnecting(checkDatabase(db, table), context?.connecting ?? withoutRun, "ranges()");
  try {
    const walk = await startWalk(connection, table, options);
    const adapting = context && seconds > 0 ? rangeSize(size, seconds, context) : undefined;
    const nextCheckpoint: NextCheckpoint = context?.checkpoints?.open(context.nameFor(table)) ?? ((find) => find());
    // The first checkpoint has the last key of the table, and by what it is walked. The others have the first and the last key of a
    // range. null means the end.
    const findLast = async () => {
      const key = await walk.findLast();
      return key ? [[], key, walk.description] : null;
    };
    const [, last, description] = ((await nextCheckpoint(findLast)) ?? []) as [Key?, Key?, string?];
    if (!last) return;
    if (description !== undefined && description !== walk.description) {
      throw new RefusedError(
        `Cannot go on with the ranges of ${table}: they were found ${description}, not ${walk.description}: begin anew, with a new ledger or job log`,
      );
    }
    let start: Key | undefined;
    let past: Key | undefined;
    context?.measure(() => walk.partOf(start, past, last));
    let found: { readonly end: Key; readonly rows: number; readonly next: Key | undefined } | undefined;
    const find = async () => {
      const rows = (await adapting?.next()) ?? size;
      if (context?.isOver) return undefined;
      const first = found && found.end === past ? found.next : await walk.findFirst(past, last);
      const [end, next] = first ? await walk.findEnd(first, last, rows) : [];
      if (!first || !end) return null; // the remaining rows may have been deleted meanwhile
      found = { end, rows, next };
      return [first, end];
    };
    for (let checkpoint = await nextCheckpoint(find); checkpoint; checkpoint = await nextCheckpoint(find)) {
      const [first, end] = checkpoint as [Key, Key];
      start ??= first;
      if (found?.end === end) adapting?.given(found.rows); // otherwise the range is of an earlier run or another machine
      yield walk.range(first, end);
      past = end;
    }
  } finally {
    await connection.close();
  }
}

/** Connection settings outside of a run. */
const withoutRun: Connecting = { hosts: [], connectTimeoutSeconds: 60, retries: 10, initCommands: [], log() {} };

/** @throws TypeError if `db` is neither options nor a connection. */
function checkDatabase(db: unknown, table: string): Connection | ConnectionOptions {
  const connection = connectionIn(db);
  if (connection) return connection;
  const { getConnection, then } = Object(db) as { getConnection?: unknown; then?: unknown };
  const isOptions = typeof db === "object" && !getConnection && !then && Object.keys(Object(db)).length > 0;
  if (isOptions) return db as ConnectionOptions;
  const what = getConnection
    ? "a pool"
    : then
      ? "a promise: await it"
      : typeof db === "string"
        ? "a text"
        : inspect(db);
  throw new TypeError(
    `Cannot walk ${table}: ranges() takes connection options, or a connection of mysql2, not ${what}`,
  );
}

/**
 * Opens a table, and the index by which it is walked.
 *
 * @throws TypeError for an invalid name, and the errors of `uniqueKeyOf()`.
 */
async function startWalk(connection: Reconnecting, name: string, { where, index: wanted }: RangesOptions) {
  const names = splitName(name);
  if (!names) throw new TypeError(`Cannot walk ${JSON.stringify(name)}: it must be TABLE or DATABASE.TABLE`);
  const run: Run = async (text) => {
    try {
      return await connection.ask(text);
    } catch (error) {
      if (names.table === exampleTable) (error as Error).message += `: ${advice}`;
      Error.captureStackTrace(error as Error); // adds the place in the script, which the stack of an answer lacks
      throw error;
    }
  };
  const table = `${names.database === undefined ? "" : `${quoted(names.database)}.`}${quoted(names.table)}`;
  const { index, columns } = await uniqueKeyOf(run, table, wanted);
  const and = where === undefined ? "" : ` AND (${where}${/--|#/.test(where) ? "\n" : ""})`; // it may end in a comment
  return {
    /** Index and condition, for a person. Ranges that were found by others are not the ranges of this walk. */
    description: `by ${index}${where === undefined ? "" : ` where ${where}`}`,
    range,

    /** Returns which part of the walk is done, from 0 to 1, if the key's first column is an integer. */
    partOf(start: Key | undefined, past: Key | undefined, last: Key): number | undefined {
      if (!start || !past) return undefined;
      const values = [start, past, last].map(([text]) => columns[0]!.valueOf(text!));
      if (values.some((value) => typeof value === "string")) return undefined;
      const [from, at, to] = values.map(Number) as [number, number, number];
      const part = (at - from) / (to - from);
      return part > 0 && part <= 1 ? part : undefined;
    },

    /** Returns the last key of the table, without `where`. The last one with `where` may be far before it and slow to find. */
    async findLast(): Promise<Key | undefined> {
      return (await keys("TRUE", "DESC", "1"))[0];
    },

    /** Returns the first key, or the first one after `past`. */
    async findFirst(past: Key | undefined, last: Key): Promise<Key | undefined> {
      const ends = [...(past ? [compare(columns, past, ">", ">")] : []), compare(columns, last, "<", "<=")];
      return (await keys(ends.map(inText).join(" AND ") + and, "ASC", "1"))[0];
    },

    /** Returns the last key of the range that begins with `first`, and the first key of the next range if there is one. */
    async findEnd(first: Key, last: Key, rows: number): Promise<Key[]> {
      const rest = inText(range(first, last));
      const found = await keys(rest, "ASC", `2 OFFSET ${rows - 1}`);
      return found.length > 0 ? found : keys(rest, "DESC", "1");
    },
  };

  /** Returns the range from one key to another, including both. */
  function range(first: Key, end: Key): Range {
    const [from, to] = [compare(columns, first, ">", ">="), compare(columns, end, "<", "<=")];
    return { where: `${from.where} AND ${to.where}${and}`, values: [...from.values, ...to.values] };
  }

  async function keys(condition: string, direction: "ASC" | "DESC", limit: string): Promise<Key[]> {
    const order = columns.map(({ name }) => `${name} ${direction}`);
    const from = `FROM ${table} FORCE INDEX (${index})`; // otherwise the optimizer may prefer to sort all remaining rows
    const text = `SELECT ${columns.map(({ read }) => read)} ${from} WHERE ${condition} ORDER BY ${order} LIMIT ${limit}`;
    return (await run(text)) as string[][];
  }
}

/** Table that the unedited script updates. Only the sandbox has it. */
const exampleTable = "myscript_orders";
const advice = "buildQueries() is still the example: edit it, or name SQL files";

/**
 * Returns the condition that compares a row with a key, its last column with `atEnd`: `(a > 1 OR (a = 1 AND b >= 2))`.
 *
 * Measured on MariaDB 10.11 and 11.8, MySQL 5.7 and 9.7: with this condition they read only the range of the index. With
 * `(a, b) >= (1, 2)` they read the whole index, and with `a >= 1 AND (a > 1 OR b >= 2)` all rows with this `a`. BETWEEN is not as
 * exact, because MariaDB compares some types differently in it.
 */
function compare(columns: readonly KeyColumn[], key: Key, operator: ">" | "<", atEnd: string): Range {
  const [column, ...others] = columns as [KeyColumn, ...KeyColumn[]];
  const { name, placeholder } = column;
  const value = column.valueOf(key[0]!);
  if (others.length === 0) return { where: `${name} ${atEnd} ${placeholder}`, values: [value] };
  const { where, values } = compare(others, key.slice(1), operator, atEnd);
  return {
    where: `(${name} ${operator} ${placeholder} OR (${name} = ${placeholder} AND ${where}))`,
    values: [value, value, ...values],
  };
}

/** Writes the values into the text. A `?` in a quoted name, such as `a?`, is not a placeholder. */
function inText({ where, values }: Range): string {
  const left = [...values];
  return where.replace(/`[^`]*`|\?/g, (part) => (part === "?" ? withValues(part, left.splice(0, 1)) : part));
}

function checkNumber(name: string, value: number, isRight: boolean, wanted: string): void {
  if (!isRight) throw new RangeError(`Cannot take ${value} for ${name}: it must be ${wanted}`);
}
