/**
 * Follows the user's own transaction on a worker's connection. Holds the jobs inside it until it ends, because a rollback
 * makes them failed.
 */
import { type DatabaseError, verdictOf } from "../mysql/errors.ts";
import { keepsTransaction, type Statement, statementIn } from "../mysql/statement.ts";
import type { Job } from "./job.ts";
import { partStays } from "./left-changes.ts";
import type { Thread } from "./thread.ts";

/** A job that was answered inside an open transaction. */
interface Held {
  readonly job: Job;
  readonly rows: number;
  /** True if a later query, such as a CALL, may have committed it and begun another transaction. A rollback makes it `unknown`. */
  isDoubtful: boolean;
}

type Ending = "done" | "failed" | "unknown";

export class Transaction {
  readonly #worker: number;
  readonly #thread: Thread;
  /** Jobs inside the open transaction, in order. */
  #held: Held[] = [];
  /** Jobs of transactions that wait for an XA COMMIT, by the XA identifier. */
  readonly #prepared = new Map<string, readonly Held[]>();
  #isOpen = false;

  constructor(worker: number, thread: Thread) {
    this.#worker = worker;
    this.#thread = thread;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Handles a job that the server has answered: ends it, or holds it if a transaction is open after it. */
  answered(job: Job, rows: number, isOpen: boolean): void {
    const wasOpen = this.#isOpen || this.#prepared.size > 0;
    const statement = wasOpen && !(isOpen && keepsTransaction(job.text)) ? statementIn(job.text) : undefined;
    if (statement) this.#resolveHeld(job, statement, isOpen);
    // After XA PREPARE the transaction no longer belongs to this connection, though the server reports it as open.
    this.#isOpen = isOpen && statement?.transaction !== "prepares";
    // COMMIT AND CHAIN and ROLLBACK AND CHAIN have ended one transaction, and are no part of the next one.
    if (this.#isOpen && !/^(?:COMMIT|ROLLBACK)$/.test(statement?.name ?? "")) {
      job.markAwaitingCommit();
      this.#held.push({ job, rows, isDoubtful: false });
    } else this.#thread.end(this.#worker, job, "done", rows);
  }

  /** Ends the transaction after a query error that has closed it. Returns a message that says how it ended. */
  endedBy(error: DatabaseError, { text, seq }: Job, isPart: boolean): string {
    const ending = endingBy(error, text);
    const what = {
      done: `query ${seq} has committed a transaction that was open, and has failed`,
      failed: "a transaction that was open is rolled back",
      unknown: `a transaction that was open has ended within query ${seq}, which has failed: nobody can tell how`,
    }[ending];
    this.end(ending, `${ending === "failed" ? "Rolled back" : what}: ${error.message}`, isPart);
    return `${what}: ${error.message}`;
  }

  /** Ends the transaction after a query in it has failed and a ROLLBACK was sent. */
  rolledBackAfter({ seq, text, error: thrown }: Job, isAutocommit: boolean, isPart: boolean): void {
    const error = thrown as DatabaseError;
    const { transaction } = statementIn(text);
    const isParsed = error.errno !== 1064; // ER_PARSE_ERROR
    // A procedure, or any commit without autocommit, may have committed the transaction and begun another one.
    const isUnsure = transaction === "unsure" || (!isAutocommit && /ommit/.test(transaction));
    const reason = `Rolled back, as query ${seq} has failed in its transaction: ${error.message}`;
    if (isUnsure && isParsed) this.end("unknown", `${reason}; that may have committed before`);
    else this.end("failed", reason, isPart);
  }

  /** Ends the transaction after a lost connection, perhaps with `running` in flight. The server keeps prepared XA transactions. */
  lost(running: Job | undefined): void {
    const isSure = running === undefined || /^(?:stays|rollsBack)/.test(statementIn(running.text).transaction);
    this.end(isSure ? "failed" : "unknown", "Its connection was lost before its transaction was committed");
    this.leavePrepared();
  }

  /**
   * Ends all jobs in the open transaction.
   *
   * @param isPart true if a part of what was rolled back stays. Nobody can tell which of the jobs have done that.
   */
  end(ending: Ending, reason: string, isPart = false): void {
    this.#isOpen = false;
    this.#end(this.#held.splice(0), ending, reason, isPart);
  }

  /** Ends jobs of prepared XA transactions as `unknown`, because anybody may still commit them or roll them back. */
  leavePrepared(): void {
    for (const held of this.#prepared.values()) {
      this.#end(held, "unknown", "Its XA transaction is prepared, and neither committed nor rolled back here");
    }
    this.#prepared.clear();
  }

  /** Ends the held jobs that a statement has committed or rolled back. */
  #resolveHeld(job: Job, { transaction, target = "" }: Statement, isOpen: boolean): void {
    if (transaction === "prepares") this.#prepared.set(target, this.#held.splice(0));
    else if (transaction === "rollsBackTo") {
      const at = this.#held.findLastIndex(({ job }) => isSavepoint(job.text, target));
      const reason = `Rolled back to savepoint ${target} by query ${job.seq}`;
      this.#end(this.#held.splice(at + 1), "failed", reason, job.leavesPart);
    } else if (transaction === "rollsBack") {
      this.#end(this.#take(target), "failed", `Rolled back by query ${job.seq}`, job.leavesPart);
    } else if (transaction === "commits" || (transaction === "mayCommit" && !isOpen)) {
      this.#end(this.#take(target), "done", "");
    } else if (isOpen && transaction === "unsure") for (const held of this.#held) held.isDoubtful = true;
    else if (!isOpen) {
      const reason = `Its transaction has ended within query ${job.seq}: nobody can tell how`;
      this.#end(this.#held.splice(0), "unknown", reason);
    }
  }

  /** Removes and returns the jobs that were prepared under an identifier, and all jobs in the open transaction. */
  #take(target: string): readonly Held[] {
    const prepared = this.#prepared.get(target) ?? [];
    this.#prepared.delete(target);
    return [...prepared, ...this.#held.splice(0)];
  }

  #end(ended: readonly Held[], outcome: Ending, reason: string, isPart = false): void {
    const message = outcome === "failed" && isPart ? `${reason}${partStays}` : reason;
    for (const { job, rows, isDoubtful } of ended) {
      if (outcome !== "done") job.error = Object.assign(new Error(message), { code: "ROLLED_BACK" });
      const ending = outcome === "failed" && (isDoubtful || isPart) ? "unknown" : outcome;
      this.#thread.end(this.#worker, job, ending, ending === "done" ? rows : 0);
    }
  }
}

function isSavepoint(text: string, target: string): boolean {
  const { name, target: set } = statementIn(text);
  return name === "SAVEPOINT" && set === target;
}

/** Returns how a transaction has ended that an error of this query has closed. */
function endingBy(error: DatabaseError, text: string): Ending {
  const { name, transaction } = statementIn(text);
  if (/^(?:stays|rollsBack)/.test(transaction)) return "failed"; // the server has rolled it back
  if (transaction !== "commits" && transaction !== "mayCommit") return "unknown";
  // The transaction was committed before the statement failed, unless the commit itself has failed.
  const isOfCommit = /^(?:COMMIT|XA)/.test(name) || verdictOf(error) !== "failed" || ofCommits.has(error.errno);
  if (!isOfCommit) return "done";
  return /^(?:COMMIT|XA)/.test(name) && rolledBack.has(error.errno) ? "failed" : "unknown";
}

/** Errors of a commit that are not transient. */
const ofCommits = new Set<number | undefined>([
  1317, // ER_QUERY_INTERRUPTED
  3024, // ER_QUERY_TIMEOUT
  1969, // ER_STATEMENT_TIMEOUT of MariaDB
  1026, // ER_ERROR_ON_WRITE: of the binary log
  1197, // ER_TRANS_CACHE_FULL
  1598, // ER_BINLOG_LOGGING_IMPOSSIBLE
  3100, // ER_RUN_HOOK_ERROR: group replication
  1105, // ER_UNKNOWN_ERROR
]);

/** Errors of a COMMIT after which the transaction is rolled back. */
const rolledBack = new Set<number | undefined>([
  1213, // ER_LOCK_DEADLOCK: Galera's certification has failed
  3101, // ER_TRANSACTION_ROLLBACK_DURING_COMMIT
  1402, // ER_XA_RBROLLBACK
  1613, // ER_XA_RBTIMEOUT
  1614, // ER_XA_RBDEADLOCK
]);
