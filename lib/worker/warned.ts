/** Reports the first queries with warnings. Asks for their texts before the next statement, because that clears them. */
import type { Connection } from "mysql2";
import { askWarnings } from "../mysql/connection.ts";
import type { Warned } from "../mysql/connection-state.ts";
import { type WarnedQuery, warnedKept } from "../shared/counters.ts";
import { describeUnit } from "../shared/query.ts";
import type { Job } from "./job.ts";
import type { Thread } from "./thread.ts";

export class WarnedQueries {
  readonly #worker: number;
  readonly #thread: Thread;
  /** The last query that was sent, if it had warnings. The server still has their texts. */
  #pending: { readonly query: WarnedQuery; readonly connection: Connection } | undefined;

  constructor(worker: number, thread: Thread) {
    this.#worker = worker;
    this.#thread = thread;
  }

  get isPending(): boolean {
    return this.#pending !== undefined;
  }

  /**
   * Counts the warnings of a query that the server has answered.
   *
   * @param isLast true if no other statement was sent after it.
   */
  add(job: Job, { count, info }: Warned, connection: Connection, isLast: boolean): void {
    job.warnings = count;
    this.#thread.counters.add(this.#worker, "warnings", count);
    if (this.#thread.warnedTold++ >= warnedKept) return;
    const { seq, unit } = job;
    const { key, at = key } = Object(unit) as { at?: unknown; key?: unknown };
    const query: WarnedQuery = {
      seq,
      ...(typeof at === "string" && { at }),
      sql: describeUnit(unit),
      warnings: count,
      ...(info !== "" && { info }),
    };
    if (isLast) this.#pending = { query, connection };
    else this.#thread.post({ type: "warned", query });
  }

  /**
   * Reports the pending query before these jobs are sent. Asks for the texts only if none of the jobs reads `ROW_COUNT()` or
   * `FOUND_ROWS()`, because `SHOW WARNINGS` changes these.
   */
  async tell(next: readonly Job[], connection: Connection | undefined, timeoutMs: number): Promise<void> {
    const pending = this.#pending;
    if (!pending) return;
    this.#pending = undefined;
    const isRead = next.some(({ text }) => /ROW_COUNT|FOUND_ROWS/i.test(text));
    const isAsked = connection === pending.connection && !isRead;
    const messages = isAsked ? (await askWarnings(connection, timeoutMs)).slice(0, 3) : undefined;
    this.#thread.post({ type: "warned", query: { ...pending.query, ...(messages && { messages }) } });
  }
}
