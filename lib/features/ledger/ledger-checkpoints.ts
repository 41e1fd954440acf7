/** Stores the checkpoints of `ranges()` in a table beside the ledger. A resumed run and other machines read the same ones. */
import type { DatabaseError } from "../../mysql/errors.ts";
import { quoted, splitName } from "../../mysql/names.ts";
import type { Checkpoints, NextCheckpoint } from "../../shared/source-context.ts";
import { type Ask, rangesOf } from "./ledger-table.ts";
import { duplicateKey, textAsSql } from "./row.ts";

/** Checkpoints per round trip. */
const pageRows = 1000;
const noTable = 1146; // ER_NO_SUCH_TABLE

/**
 * @param ledger name of the ledger's table, quoted as SQL.
 * @param readsOnly true for a dry run. New checkpoints are not stored.
 */
export function ledgerCheckpoints(ledger: string, ask: Ask, readsOnly: boolean): Checkpoints {
  const { database, table: ledgerTable } = splitName(ledger)!;
  const table = `${quoted(database!)}.${quoted(rangesOf(ledgerTable))}`;
  return { isShared: true, open };

  function open(name: string): NextCheckpoint {
    let number = 0;
    let page: string[] = [];
    let isAtEnd = false;
    return async (find) => {
      number++;
      for (;;) {
        if (page.length === 0 && !isAtEnd) {
          page = await read(name, number);
          isAtEnd = page.length < pageRows;
        }
        const known = page.shift();
        if (known !== undefined) return JSON.parse(known);
        const checkpoint = await find();
        if (checkpoint === undefined || readsOnly || (await insert(name, number, checkpoint))) return checkpoint;
        isAtEnd = false; // another machine has inserted a checkpoint with this number
      }
    };
  }

  async function read(name: string, from: number): Promise<string[]> {
    const where = `name = ${textAsSql(name)} AND number >= ${from}`;
    const select = `SELECT note FROM ${table} WHERE ${where} ORDER BY number LIMIT ${pageRows}`;
    try {
      return (await ask(select)).map(([note]) => note!);
    } catch (error) {
      if ((error as DatabaseError).errno !== noTable) throw error;
      if (readsOnly) return [];
    }
    await ask(
      `CREATE TABLE IF NOT EXISTS ${table} (
        name VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        number INT UNSIGNED NOT NULL,
        note MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        PRIMARY KEY (name, number)
      ) ENGINE = InnoDB`,
    );
    return read(name, from);
  }

  /** Returns false if there is a checkpoint with that number already. */
  async function insert(name: string, number: number, checkpoint: unknown): Promise<boolean> {
    const values = `${textAsSql(name)}, ${number}, ${textAsSql(JSON.stringify(checkpoint))}`;
    try {
      await ask(`INSERT INTO ${table} (name, number, note) VALUES (${values})`);
      return true;
    } catch (error) {
      if ((error as DatabaseError).errno === duplicateKey) return false;
      throw error;
    }
  }
}
