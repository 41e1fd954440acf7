/** Reads the rows of earlier runs from the ledger, in step with the input. The parent skips the queries that are done. */
import { RefusedError } from "../../parent/errors.ts";
import type { KnownQueries } from "../../parent/feature.ts";
import type { Ask, LedgerTable } from "./ledger-table.ts";
import { anotherQuery, type IdColumn, rowOf, textAsSql } from "./row.ts";

/** Rows per round trip. */
const pageRows = 10_000;

export class KnownRows implements KnownQueries {
  readonly to: number;
  readonly by: string;
  readonly #table: string;
  readonly #ask: Ask;
  readonly #create: (column: IdColumn) => Promise<void>;
  #column: IdColumn | undefined;
  #isChecked = false;
  /** For queries without keys: the next rows in order, and the position up to which all rows have been read. */
  #page: (string | null)[][] = [];
  #at = 0;
  #readTo = 0;
  #next: Promise<(string | null)[][]> | undefined;
  /** For queries with keys: the hashes of all rows by key. */
  readonly #hashes = new Map<string, string>();

  constructor({ name, column, lastSeq }: LedgerTable, ask: Ask, create: (column: IdColumn) => Promise<void>) {
    this.#table = name;
    this.#column = column;
    this.to = lastSeq;
    this.by = `the ledger ${name}`;
    this.#ask = ask;
    this.#create = create;
    if (lastSeq === 0) this.#readTo = Number.POSITIVE_INFINITY;
  }

  prepare(seq: number, key: string | undefined): Promise<void> | undefined {
    if (!this.#isChecked) return this.#begin(seq, key);
    return seq > this.#readTo ? this.#readOn() : undefined;
  }

  isDone(seq: number, unit: unknown, key: string | undefined): boolean {
    const isNext = Number(this.#page[this.#at]?.[0]) === seq;
    const hash = key !== undefined ? this.#hashes.get(key) : isNext ? this.#page[this.#at++]![1] : undefined;
    if (hash === undefined) return false;
    if (hash !== rowOf({ seq, unit }).hash) throw new RefusedError(anotherQuery(seq, unit, this.#table));
    return true;
  }

  /** Creates the table for queries with or without keys. @throws RefusedError if it exists for the other kind. */
  async #begin(seq: number, key: string | undefined): Promise<void> {
    this.#isChecked = true;
    const column = key === undefined ? "seq" : "name";
    if (this.#column === undefined) {
      await this.#create(column).catch(({ message }) => {
        throw new RefusedError(message);
      });
    } else if (this.#column !== column) {
      const [has, knows] = key === undefined ? ["no key", "keys"] : ["a key", "their place in the input"];
      throw new RefusedError(
        `Cannot use the ledger ${this.#table}: query ${seq} has ${has}, and it knows queries by ${knows}: use another ledger`,
      );
    } else if (column === "name") await this.#readKeys();
    if (seq > this.#readTo) await this.#readOn();
  }

  async #readKeys(): Promise<void> {
    let last: string | undefined;
    do {
      const where = last === undefined ? "" : `WHERE name > ${textAsSql(last)}`;
      const page = await this.#ask(`SELECT name, hash FROM ${this.#table} ${where} ORDER BY name LIMIT ${pageRows}`);
      for (const [name, hash] of page) this.#hashes.set(name!, hash!);
      last = page.length === pageRows ? page.at(-1)![0]! : undefined;
    } while (last !== undefined);
  }

  async #readOn(): Promise<void> {
    this.#page = await (this.#next ?? this.#read(this.#readTo));
    this.#at = 0;
    const isLast = this.#page.length < pageRows;
    this.#readTo = isLast ? Number.POSITIVE_INFINITY : Number(this.#page.at(-1)![0]);
    this.#next = isLast ? undefined : this.#read(this.#readTo); // while the input is compared with this page
    this.#next?.catch(() => {});
  }

  #read(after: number): Promise<(string | null)[][]> {
    const where = `seq > ${after} AND seq <= ${this.to}`;
    return this.#ask(`SELECT seq, hash FROM ${this.#table} WHERE ${where} ORDER BY seq LIMIT ${pageRows}`);
  }
}
