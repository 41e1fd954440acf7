/** By which index a table can be walked: each row has its place, and what is read of a row finds it again. */
import { quoted } from "../../mysql/literal.ts";

/** Values of a key's columns, as the server prints them; of a binary column, its bytes in hexadecimal. */
export type Key = readonly string[];

/** A column of a key, as SQL. */
export interface KeyColumn {
  readonly name: string;
  /** What is selected to read it. */
  readonly read: string;
  /** The placeholder that it is compared with: of a type for which that is exact. */
  readonly placeholder: string;
  /** The placeholder's value, from what was read. */
  valueOf(text: string): string | number | bigint;
}

export interface UniqueKey {
  /** The index, as SQL. */
  readonly index: string;
  readonly columns: readonly KeyColumn[];
}

/** Runs a statement of our own. */
export type Run = (text: string) => Promise<(string | null)[][]>;

/**
 * Finds the primary key or, where it does not do, another unique index without NULLs.
 *
 * @param table its name as SQL.
 * @param wanted the name of the index that it is to be.
 * @throws Error saying what is wrong with each index that does not do, and the server's, such as for a table that is missing.
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

interface IndexPart {
  readonly column: string | null | undefined;
  readonly type: string;
  readonly nonUnique: string | null | undefined;
  readonly prefix: string | null | undefined;
  readonly isNullable: string | null | undefined;
  readonly kind: string | null | undefined;
}

function objectionTo({ column, type, nonUnique, prefix, isNullable, kind }: IndexPart): string | undefined {
  if (nonUnique !== "0") return "is not unique";
  if (kind !== "BTREE") return `is ${kind}, which has no order`;
  if (column === null || column === undefined) return "is on an expression";
  if (prefix !== null) return `has only the beginning of ${column}`;
  if (isNullable === "YES") return `can have NULL in ${column}`;
  // The text of a FLOAT is not its value, a TIMESTAMP's is that of two moments once a year, and an ENUM sorts by its number.
  if (!walkable.test(type)) return `has ${column}, and ${/^\w*/.exec(type)} cannot be told exactly by its text`;
  return undefined;
}

const integer = /^(?:tiny|small|medium|big)?int\b/;
const decimal = /^decimal\(\d+,\d+\)/;
const binary = /^(?:var)?binary\b/;
const date = /^date(?:time)?\b/;
const text = /^(?:(?:var)?char|time|uuid|inet[46])\b/;
const walkable = new RegExp([integer, decimal, binary, date, text].map(({ source }) => source).join("|"));

/** MySQL's NO_ZERO_DATE, which is in its default `sql_mode`, refuses this text in a comparison, and takes 0 for it. */
const zeroDate = /^0000-00-00(?: 00:00:00(?:\.0+)?)?$/;

function columnOf({ column, type }: IndexPart): KeyColumn {
  const name = quoted(column!);
  const asItIs = { name, read: name, placeholder: "?", valueOf: (value: string) => value };
  if (integer.test(type)) return { ...asItIs, valueOf: integerOf };
  // A DECIMAL and a text would be compared as doubles.
  if (decimal.test(type)) return { ...asItIs, placeholder: `CAST(? AS ${decimal.exec(type)})` };
  if (binary.test(type)) return { ...asItIs, read: `HEX(${name})`, placeholder: "UNHEX(?)" };
  if (date.test(type)) return { ...asItIs, valueOf: (value) => (zeroDate.test(value) ? 0 : value) };
  return asItIs;
}

function integerOf(digits: string): number | bigint {
  const number = Number(digits);
  return Number.isSafeInteger(number) ? number : BigInt(digits);
}
