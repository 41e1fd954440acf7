/**
 * The session statements of an input: those at its top are run on every connection, one further down is for one worker alone.
 *
 * So `USE shop;` at the top of a file means the same with any number of workers, in a shard, with a ledger, after a lost
 * connection and when a run is resumed.
 */
import { sessionStatement } from "../mysql/statement.ts";
import { isLeft, leavesId, type Variables, variablesIn } from "../mysql/variables.ts";
import type { PrologueStatement } from "../shared/messages.ts";
import { describeUnit, type Query, sqlOf } from "../shared/query.ts";
import { RefusedError } from "./errors.ts";
import type { WorkOptions } from "./options.ts";

interface PrologueOptions extends Pick<WorkOptions, "initCommands" | "shard" | "resumed"> {
  readonly workers: number;
}

/** A query that has set something for those after it. */
interface Setter {
  readonly seq: number;
  readonly isRun: boolean;
  readonly procedure?: string | undefined;
}

/** Whether a unit that stands at the top of an input is part of the prologue. */
export function canBePrologue(unit: unknown): boolean {
  const hasValues = (unit as { values?: unknown } | null)?.values !== undefined;
  return !hasValues && sessionStatement(sqlOf(unit))?.session === "repeatable";
}

export class Prologue {
  readonly statements: PrologueStatement[] = [];
  /** Why what means something to one connection cannot be run, and what to do about a statement, and about a query that reads. */
  #cannotStand: readonly [why: string, forStatement: string, forReader?: string] | undefined;
  /** The queries that are run here, are run in their order on one connection. */
  #isInOrder: boolean;
  /** One worker runs all queries. */
  readonly #isOneQueue: boolean;
  /** By what they have set, the last queries of those so far. */
  readonly #setters = new Map<string, Setter>();
  #last: Setter | undefined;
  #lastOfId: Setter | undefined;
  #isOver = false;
  /** Is called with each statement that the input adds. */
  onStatement = (_: PrologueStatement): void => {};

  constructor({ initCommands = [], shard, resumed, workers }: PrologueOptions) {
    for (const sql of initCommands)
      this.statements.push({ seq: 0, sql, from: `the init command "${describeUnit(sql)}"` });
    this.#isInOrder = workers === 1;
    this.#isOneQueue = workers === 1 && shard === undefined;
    this.#cannotStand =
      workers > 1
        ? [`there are ${workers}`, "put it before all other queries, or use one worker", "use one worker"]
        : shard
          ? ["a shard has only some of the queries", "put it before all others"]
          : resumed
            ? ["that of the earlier run is gone", "begin anew, without the job log", "begin anew, without the job log"]
            : undefined;
  }

  /** Says that each query must stand by itself, and why. */
  standAlone(why: string): void {
    this.#isInOrder = false;
    if (this.#isOneQueue) this.#cannotStand = [why, "put it before all others"];
  }

  /**
   * Looks at the next query of the input.
   *
   * @param isRun whether it is to be run here.
   * @throws RefusedError for a query that cannot be run where it stands.
   */
  take(seq: number, query: Query, isRun: boolean): void {
    if (this.#isOver && this.#cannotStand === undefined) return;
    if (!this.#isOver && canBePrologue(query)) {
      const { sql } = typeof query === "string" ? { sql: query } : query;
      const statement = { seq, sql, from: `${placeOf(seq, query)}, ${describeUnit(query)},` };
      this.statements.push(statement);
      this.onStatement(statement);
      return;
    }
    this.#isOver = true;
    if (this.#cannotStand === undefined) return;
    const text = sqlOf(query);
    const name = sessionStatement(text)?.name;
    if (name) this.#refuse(seq, query, `${name} means something to one connection`);
    const variables = variablesIn(text, true);
    if (variables && isRun) this.#checkReads(seq, query, variables);
    this.#last = { seq, isRun };
    if (leavesId(text)) this.#lastOfId = this.#last;
    for (const name of variables?.sets ?? []) this.#setters.set(name, { seq, isRun, procedure: variables?.procedure });
  }

  /** @throws RefusedError where it reads what an earlier query has set, perhaps on another connection. */
  #checkReads(seq: number, query: Query, { reads, sets, procedure }: Variables): void {
    for (const name of reads) {
      const left = isLeft(name);
      const setter = left === "by each" ? this.#last : left ? this.#lastOfId : this.#setters.get(name);
      if (setter || left || this.#isSetForAll(name)) this.#checkRead(seq, query, name, setter);
      else this.#refuse(seq, query, `it reads ${name}, which no query sets where all can see it`, true);
    }
    // What procedures give back is set by them; who gives a variable to another one after that, reads it.
    for (const name of procedure === undefined ? [] : sets) {
      const setter = this.#setters.get(name);
      if (setter?.procedure !== procedure) this.#checkRead(seq, query, name, setter);
    }
  }

  /** Whether what every connection has run before its first query sets a variable. */
  #isSetForAll(name: string): boolean {
    return this.statements.some(({ sql }) => variablesIn(sqlOf({ sql }), true)?.sets.has(name));
  }

  #checkRead(seq: number, query: Query, name: string, setter: Setter | undefined): void {
    if (setter === undefined || (this.#isInOrder && setter.isRun)) return;
    this.#refuse(
      seq,
      query,
      `it reads ${name}, which query ${setter.seq} has ${isLeft(name) ? "left" : "set"} for one connection`,
      true,
    );
  }

  #refuse(seq: number, query: Query, what: string, isReader = false): never {
    const [why, forStatement, forReader] = this.#cannotStand!;
    const remedy = isReader ? forReader : forStatement;
    throw new RefusedError(`Cannot go on at ${placeOf(seq, query)}: ${what}, and ${why}${remedy ? `: ${remedy}` : ""}`);
  }
}

/** For people: the place of a query in its file, or its number. */
function placeOf(seq: number, query: Query): string {
  return (typeof query === "object" && query.at) || `query ${seq}`;
}
