/**
 * Session statements of an input. Those at its top run on every connection. One further down requires a single worker.
 *
 * So `USE shop;` at the top of a file means the same with any number of workers, in a shard, with a ledger, after a lost
 * connection and when a run is resumed.
 */
import { sessionStatement } from "../mysql/statement.ts";
import { isLeft, isSetIn, leavesId, type Variables, variablesIn } from "../mysql/variables.ts";
import type { SetupStatement } from "../shared/messages.ts";
import { describeUnit, type Query, sqlOf } from "../shared/query.ts";
import { RefusedError } from "./errors.ts";
import type { WorkOptions } from "./options.ts";

interface SetupOptions extends Pick<WorkOptions, "initCommands" | "shard" | "resumed"> {
  readonly workers: number;
}

/** A query that has set something on its connection for later queries. */
interface Setter {
  readonly seq: number;
  readonly isRun: boolean;
  readonly procedure?: string | undefined;
}

/** Returns true if a unit at the top of an input is part of the session setup. */
export function canBeSetup(unit: unknown): boolean {
  const hasValues = (unit as { values?: unknown } | null)?.values !== undefined;
  return !hasValues && sessionStatement(sqlOf(unit))?.session === "repeatable";
}

export class SessionSetup {
  readonly statements: SetupStatement[] = [];
  /** Set if a query cannot rely on its connection: the reason, the advice for a statement such as SET, and for all others. */
  #cannotStand: readonly [why: string, forSetting: string, forOther?: string] | undefined;
  /** True if the queries that run here run in order on one connection. */
  #isInOrder: boolean;
  /** True if one worker runs all queries. */
  readonly #isOneQueue: boolean;
  /** The last query that has set each variable. */
  readonly #setters = new Map<string, Setter>();
  #last: Setter | undefined;
  #lastOfId: Setter | undefined;
  #isOver = false;
  /** Callback for each statement that the input adds. */
  onStatement = (_: SetupStatement): void => {};

  constructor({ initCommands = [], shard, resumed, workers }: SetupOptions) {
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

  /** Forbids that a query depends on an earlier one. `why` is the reason. */
  standAlone(why: string): void {
    this.#isInOrder = false;
    if (this.#isOneQueue) this.#cannotStand = [why, "put it before all others"];
  }

  /**
   * Checks the next query of the input.
   *
   * @param isRun true if the query runs here.
   * @throws RefusedError for a query that cannot run at its place.
   */
  take(seq: number, query: Query, isRun: boolean): void {
    if (this.#isOver && this.#cannotStand === undefined) return;
    if (!this.#isOver && canBeSetup(query)) {
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
    if (name) this.#refuse(seq, query, `${name} applies to one connection only`, canBeSetup(query));
    const variables = variablesIn(text, true);
    if (variables && isRun) this.#checkReads(seq, query, variables);
    this.#last = { seq, isRun };
    if (leavesId(text)) this.#lastOfId = this.#last;
    for (const name of variables?.sets ?? []) this.#setters.set(name, { seq, isRun, procedure: variables?.procedure });
  }

  /** @throws RefusedError if the query reads what no query has set, or what an earlier one has set, perhaps on another connection. */
  #checkReads(seq: number, query: Query, { reads, sets, procedure }: Variables): void {
    for (const name of reads) {
      const left = isLeft(name);
      const setter = left === "by each" ? this.#last : left ? this.#lastOfId : this.#setters.get(name);
      if (setter || left || isSetIn(this.statements, name)) this.#checkRead(seq, query, name, setter);
      else this.#refuse(seq, query, `it reads ${name}, which no query sets on all connections`);
    }
    // A procedure may set its arguments. Passing an argument that another query has set counts as reading it.
    for (const name of procedure === undefined ? [] : sets) {
      const setter = this.#setters.get(name);
      if (setter?.procedure !== procedure) this.#checkRead(seq, query, name, setter);
    }
  }

  #checkRead(seq: number, query: Query, name: string, setter: Setter | undefined): void {
    if (setter === undefined || (this.#isInOrder && setter.isRun)) return;
    this.#refuse(
      seq,
      query,
      `it reads ${name}, which query ${setter.seq} has ${isLeft(name) ? "left" : "set"} for one connection`,
    );
  }

  #refuse(seq: number, query: Query, what: string, isSetting = false): never {
    const [why, forSetting, forOther] = this.#cannotStand!;
    const remedy = isSetting ? forSetting : forOther;
    throw new RefusedError(`Cannot go on at ${placeOf(seq, query)}: ${what}, and ${why}${remedy ? `: ${remedy}` : ""}`);
  }
}

/** Returns the place of a query in its file, or its number, for messages. */
function placeOf(seq: number, query: Query): string {
  return (typeof query === "object" && query.at) || `query ${seq}`;
}
