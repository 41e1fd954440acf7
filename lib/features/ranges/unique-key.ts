/** Finds an index by which a table can be walked: each row has one place in it, and the key that is read finds the row again. */
import { quoted } from "../../mysql/names.ts";

/** Values of a key's columns, as the server prints them. Those of a binary column are hexadecimal. */
export type Key = readonly string[];

/** A column of a key, as SQL. */
export interface KeyColumn {
  readonly name: string;
  /** Expression that selects it. */
  readonly read: string;
  /** Placeholder to compare it with, of a type for which the comparison is exact. */
  readonly placeholder: string;
  /** Returns the value of the placeholder from the text that was read. */
  valueOf(text: string): string | number | bigint;
}

interface UniqueKey {
  /** Name of the index, quoted as SQL. */
  readonly index: string;
  readonly columns: readonly KeyColumn[];
}

/** Runs one of lib's own statements. */
export type Run = (text: string) => Promise<(string | null)[][]>;

/**
 * Returns the primary key, or another unique index without NULLs if that cannot be used.
 *
 * @param table its name, quoted as SQL.
 * @param wanted name of the index to use.
 * @throws Error with the reason for each index that cannot be used, and errors of the server, such as for a missing table.
 */
export async function uniqueKeyOf(run: Run, table: string, wanted?: string): Promise<UniqueKey> {
  const types = new Map((await run(`SHOW COLUMNS FROM ${table}`)).map(([name, type]) => [name!, type!]));
  const indexes = new Map<string, IndexPart[]>();
  for (const [, nonUnique, index, , column, , , prefix, , isNullable, kind] of await run(`SHOW INDEX FROM ${table}`)) {
    if (wanted !== undefined && index!.toLowerCase() !== wanted.toLowerCase()) continue;
    const part = { column, type: types.get(column ?? "") ?? "", nonUnique, prefix, isNullable, kind };
    indexes.set(index!, [...(indexes.get(index!) ?? []), part]);
  }
  const objections: string[] = [];
  for (const [index, parts] of indexes) {
    const objection = parts.map(objectionTo).find((what) => what !== undefined);
    if (objection === undefined) return { index: quoted(index), columns: parts.map(columnOf) };
    objections.push(`${index} ${objection}`);
  }
  const none = wanted === undefined ? "it has none" : `it has no index ${JSON.stringify(wanted)}`;
  throw new Error(`Cannot walk ${table} without a unique index that has no NULLs: ${objections.join("; ") || none}`);
}

/** A column of an index, from a row of SHOW INDEX, with its type. */
type IndexPart = Record<"column" | "nonUnique" | "prefix" | "isNullable" | "kind", string | null | undefined> & {
  readonly type: string;
};

function objectionTo({ column, type, nonUnique, prefix, isNullable, kind }: IndexPart): string | undefined {
  if (nonUnique !== "0") return "is not unique";
  if (kind !== "BTREE") return `is ${kind}, which has no order`;
  if (column === null || column === undefined) return "is on an expression";
  if (prefix !== null) return `has only the beginning of ${column}`;
  if (isNullable === "YES") return `can have NULL in ${column}`;
  // The text of a FLOAT is not exact, that of a TIMESTAMP is ambiguous for one hour a year, and an ENUM sorts by its number.
  if (!walkable.test(type)) return `has ${column}, and ${/^\w*/.exec(type)} cannot be compared exactly by its text`;
  return undefined;
}

const integer = /^(?:tiny|small|medium|big)?int\b/;
const decimal = /^decimal\(\d+,\d+\)/;
const binary = /^(?:var)?binary\b/;
const date = /^date(?:time)?\b/;
const text = /^(?:(?:var)?char|time|uuid|inet[46])\b/;
const walkable = new RegExp([integer, decimal, binary, date, text].map(({ source }) => source).join("|"));

/** Zero date. MySQL's NO_ZERO_DATE, part of its default `sql_mode`, refuses this text in a comparison, but accepts 0 for it. */
const zeroDate = /^0000-00-00(?: 00:00:00(?:\.0+)?)?$/;

function columnOf({ column, type }: IndexPart): KeyColumn {
  const name = quoted(column!);
  const asItIs = { name, read: name, placeholder: "?", valueOf: (value: string) => value };
  if (integer.test(type)) return { ...asItIs, valueOf: integerOf };
  // Without the CAST, a DECIMAL and a text are compared as doubles.
  if (decimal.test(type)) return { ...asItIs, placeholder: `CAST(? AS ${decimal.exec(type)})` };
  if (binary.test(type)) return { ...asItIs, read: `HEX(${name})`, placeholder: "UNHEX(?)" };
  if (date.test(type)) return { ...asItIs, valueOf: (value) => (zeroDate.test(value) ? 0 : value) };
  return asItIs;
}

function integerOf(digits: string): number | bigint {
  const number = Number(digits);
  return Number.isSafeInteger(number) ? number : BigInt(digits);
}
