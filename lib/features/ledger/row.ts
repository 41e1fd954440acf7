/** The row of a query in the ledger, as SQL. */
import { hashOf, sameInput, sameKeys } from "../../shared/hash.ts";
import { keyOf, nameOfQuery } from "../../shared/query.ts";

/** Column that identifies queries in a ledger: `seq`, their position in the input, or `name`, their key. */
export type IdColumn = "seq" | "name";

export interface LedgerRow {
  readonly column: IdColumn;
  /** Value of that column, as SQL. */
  readonly id: string;
  /** Value of that column, as the server prints it. */
  readonly printed: string;
  readonly hash: string;
}

export function rowOf({ seq, unit }: { readonly seq: number; readonly unit: unknown }): LedgerRow {
  const key = keyOf(unit);
  const hash = hashOf(unit);
  if (key === undefined) return { column: "seq", id: String(seq), printed: String(seq), hash };
  return { column: "name", id: textAsSql(key), printed: key, hash };
}

/** Returns a text as SQL that does not depend on `sql_mode` (backslashes) or on the connection's character set. */
export function textAsSql(text: string): string {
  return `_utf8mb4 X'${Buffer.from(text).toString("hex")}'`;
}

/**
 * Returns statements that wait for transactions which are inserting the rows of a SELECT. They keep no lock. They need a transaction
 * of their own because TiDB locks nothing for a SELECT outside of one, nor for LOCK IN SHARE MODE.
 */
export function locking(select: string): string {
  return `START TRANSACTION;${select} FOR UPDATE;COMMIT`;
}

/** Returns the message that the ledger has another query under this seq or key, with advice. */
export function anotherQuery(seq: number, unit: unknown, table: string): string {
  const advice = keyOf(unit) === undefined ? sameInput : sameKeys;
  return `Cannot go on: ${nameOfQuery(seq, unit)} is not the one in the ledger ${table}: ${advice}`;
}

export const duplicateKey = 1062; // ER_DUP_ENTRY

/** Settings of a ledger in each thread. */
export interface LedgerSettings {
  /** Name of its table, quoted as SQL. */
  readonly table: string;
  /** Counts of queries, by `counted`, in memory that all threads share. */
  readonly counts: Int32Array;
}

/** Positions in the counts. */
export const counted = { selfCommitted: 0, alreadyInLedger: 1 } as const;
