/** Reads the rows of earlier runs from the ledger, in step with the input. The parent skips the queries that are done. */
import { RefusedError } from "../../parent/errors.ts";
import type { KnownQueries } from "../../parent/feature.ts";
import type { Ask, LedgerTable } from "./ledger-table.ts";
import { anotherQuery, type IdColumn, rowOf, textAsSql } from "./row.ts";

/** Rows per round trip. */
const pageRows = 10_000;

export function knownRows(
  { name: table, column: existing, lastSeq }: LedgerTable,
  ask: Ask,
  create: (column: IdColumn) => Promise<void>,
): KnownQueries {
  let isChecked = false;
  /** For queries with keys: the hashes of all rows by key. */
  const hashes = new Map<string, string>();
  /** For queries without keys: the next rows in order, and the position up to which all rows have been read. */
  let page: (string | null)[][] = [];
  let at = 0;
  let readTo = lastSeq === 0 ? Number.POSITIVE_INFINITY : 0;
  let nextPage: ReturnType<Ask> | undefined;

  return {
    to: lastSeq,
    by: `the ledger ${table}`,
    prepare(seq, key) {
      if (!isChecked) return begin(seq, key);
      return seq > readTo ? readOn() : undefined;
    },
    isDone(seq, unit, key) {
      const isNext = Number(page[at]?.[0]) === seq;
      const hash = key !== undefined ? hashes.get(key) : isNext ? page[at++]![1] : undefined;
      if (hash === undefined) return false;
      if (hash !== rowOf({ seq, unit }).hash) throw new RefusedError(anotherQuery(seq, unit, table));
      return true;
    },
  };

  /** Creates the table for queries with or without keys. @throws RefusedError if it exists for the other kind. */
  async function begin(seq: number, key: string | undefined): Promise<void> {
    isChecked = true;
    const column = key === undefined ? "seq" : "name";
    if (existing === undefined) {
      await create(column).catch(({ message }) => {
        throw new RefusedError(message);
      });
    } else if (existing !== column) {
      const [has, knows] = key === undefined ? ["no key", "keys"] : ["a key", "their place in the input"];
      throw new RefusedError(
        `Cannot use the ledger ${table}: query ${seq} has ${has}, and it knows queries by ${knows}: use another ledger`,
      );
    } else if (column === "name") await readKeys();
    if (seq > readTo) await readOn();
  }

  async function readKeys(): Promise<void> {
    let last: string | undefined;
    do {
      const where = last === undefined ? "" : `WHERE name > ${textAsSql(last)}`;
      const rows = await ask(`SELECT name, hash FROM ${table} ${where} ORDER BY name LIMIT ${pageRows}`);
      for (const [name, hash] of rows) hashes.set(name!, hash!);
      last = rows.length === pageRows ? rows.at(-1)![0]! : undefined;
    } while (last !== undefined);
  }

  async function readOn(): Promise<void> {
    page = await (nextPage ?? read(readTo));
    at = 0;
    const isLast = page.length < pageRows;
    readTo = isLast ? Number.POSITIVE_INFINITY : Number(page.at(-1)![0]);
    nextPage = isLast ? undefined : read(readTo); // while the input is compared with this page
    nextPage?.catch(() => {});
  }

  function read(after: number): ReturnType<Ask> {
    const where = `seq > ${after} AND seq <= ${lastSeq}`;
    return ask(`SELECT seq, hash FROM ${table} WHERE ${where} ORDER BY seq LIMIT ${pageRows}`);
  }
}
