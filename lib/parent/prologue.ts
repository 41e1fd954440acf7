/**
 * The session statements of an input: those at its top are run on every connection, one further down is for one worker alone.
 *
 * So `USE shop;` at the top of a file means the same with any number of workers, in a shard, with a ledger, after a lost
 * connection and when a run is resumed.
 */
import { isRepeatable, sessionStatement } from "../mysql/statement.ts";
import type { PrologueStatement } from "../shared/messages.ts";
import { describeUnit, type Query, sqlOf } from "../shared/query.ts";
import { RefusedError } from "./errors.ts";
import type { WorkOptions } from "./options.ts";

interface PrologueOptions extends Pick<WorkOptions, "initCommands" | "shard" | "ledger" | "resumed"> {
  readonly workers: number;
}

export class Prologue {
  readonly statements: PrologueStatement[] = [];
  readonly #cannotStand: string | undefined;
  #isOver = false;

  constructor({ initCommands = [], shard, ledger, resumed, workers }: PrologueOptions) {
    for (const sql of initCommands)
      this.statements.push({ seq: 0, sql, from: `the init command "${describeUnit(sql)}"` });
    this.#cannotStand =
      workers > 1
        ? `there are ${workers}: put it before all other queries, or use one worker`
        : shard
          ? "a shard has only some of the queries: put it before all others"
          : ledger !== undefined
            ? "with a ledger each query must stand by itself: put it before all others"
            : resumed
              ? "that of the earlier run is gone: begin anew, without the job log"
              : undefined;
  }

  /**
   * Looks at the next query of the input.
   *
   * @returns the statement that it adds to the prologue, if it does.
   * @throws RefusedError for a session statement that cannot be run where it stands.
   */
  take(seq: number, query: Query): PrologueStatement | undefined {
    if (this.#isOver && this.#cannotStand === undefined) return undefined;
    const name = sessionStatement(sqlOf(query));
    if (this.#isOver && !name) return undefined; // nearly all
    const { sql, values, at } = typeof query === "string" ? { sql: query } : query;
    const from = at ?? `query ${seq}`;
    if (!this.#isOver && name && isRepeatable(name) && values === undefined) {
      const statement = { seq, sql, from: `${from}, ${describeUnit(query)},` };
      this.statements.push(statement);
      return statement;
    }
    this.#isOver = true;
    if (!name || this.#cannotStand === undefined) return undefined;
    throw new RefusedError(
      `Cannot go on at ${from}: ${name} means something to one connection, and ${this.#cannotStand}`,
    );
  }
}
