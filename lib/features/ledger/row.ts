/** The row of a query in the ledger, as SQL. */
import { hashOf, sameKeys, sameQueries } from "../../shared/hash.ts";
import { keyOf, nameOfQuery } from "../../shared/query.ts";

/** The column that a ledger knows its queries by: their position in the input, or the key that their owner gives them. */
export type IdColumn = "seq" | "name";

export interface LedgerRow {
  readonly column: IdColumn;
  /** The value of that column, as SQL. */
  readonly id: string;
  /** The same as the server prints it. */
  readonly printed: string;
  readonly hash: string;
}

export function rowOf({ seq, unit }: { readonly seq: number; readonly unit: unknown }): LedgerRow {
  const key = keyOf(unit);
  const hash = hashOf(unit);
  if (key === undefined) return { column: "seq", id: String(seq), printed: String(seq), hash };
  return { column: "name", id: textAsSql(key), printed: key, hash };
}

/** A text as SQL, whatever the server's `sql_mode` makes of a backslash, and whatever the connection's character set. */
export function textAsSql(text: string): string {
  return `_utf8mb4 X'${Buffer.from(text).toString("hex")}'`;
}

/**
 * Returns statements that wait for transactions which are adding the rows of a SELECT, and keep no lock. In a transaction, as
 * TiDB locks nothing for a SELECT outside of one, nor for LOCK IN SHARE MODE.
 */
export function locking(select: string): string {
  return `START TRANSACTION;${select} FOR UPDATE;COMMIT`;
}

/** Says that the ledger has another query in the place of this one, or under its key, and what to do. */
export function anotherQuery(seq: number, unit: unknown, table: string): string {
  const advice = keyOf(unit) === undefined ? sameQueries : sameKeys;
  return `Cannot go on: ${nameOfQuery(seq, unit)} is not the one in the ledger ${table}: ${advice}`;
}
