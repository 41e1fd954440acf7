/** The user's own transaction on a worker's connection: what it takes back is not done. */
import { type DatabaseError, verdictOf } from "../mysql/errors.ts";
import { keepsTransaction, statementIn } from "../mysql/statement.ts";
import type { Job } from "./job.ts";
import type { Thread } from "./thread.ts";

interface Held {
  readonly job: Job;
  readonly rows: number;
  /** A query such as a CALL may have committed it, and begun another transaction: nobody can tell whether it is rolled back. */
  isDoubtful: boolean;
}

type Ending = "done" | "failed" | "unknown";

export class Transaction {
  readonly #worker: number;
  readonly #thread: Thread;
  /** What was answered inside it, in order. */
  #held: Held[] = [];
  /** What is prepared for an XA COMMIT, by its identifier. */
  readonly #prepared = new Map<string, readonly Held[]>();
  #isOpen = false;
  constructor(worker: number, thread: Thread) {
    this.#worker = worker;
    this.#thread = thread;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Takes a job that the server has answered, and whether a transaction is open after it: ends it, or holds it back. */
  answered(job: Job, rows: number, isOpen: boolean): void {
    const wasOpen = this.#isOpen || this.#prepared.size > 0;
    if (wasOpen) this.#settle(job, isOpen);
    // What is prepared is not this connection's any more, though servers call it open.
    this.#isOpen = isOpen && !(wasOpen && statementIn(job.text).transaction === "prepares");
    if (this.#isOpen) {
      job.noteAnswered();
      this.#held.push({ job, rows, isDoubtful: false });
    } else this.#thread.end(this.#worker, job, "done", rows);
  }

  /** The server has answered a query with an error, and the transaction is not open any more; returns what became of it. */
  endedBy(error: DatabaseError, { text, seq }: Job): string {
    const ending = endingBy(error, text);
    const what = {
      done: `query ${seq} has committed a transaction that was open, and has failed`,
      failed: "a transaction that was open is rolled back",
      unknown: `a transaction that was open has ended within query ${seq}, which has failed: nobody can tell how`,
    }[ending];
    this.end(ending, `${ending === "failed" ? "Rolled back" : what}: ${error.message}`);
    return `${what}: ${error.message}`;
  }

  /** A query has failed in the transaction, and then a ROLLBACK was sent. */
  rolledBackAfter(error: DatabaseError, { seq, text }: Pick<Job, "seq" | "text">, isAutocommit: boolean): void {
    const { transaction } = statementIn(text);
    const isParsed = error.errno !== 1064; // ER_PARSE_ERROR
    // Without autocommit, and in a procedure, it may have committed what was open, and begun another one.
    const isUnsure = transaction === "unsure" || (!isAutocommit && /ommit/.test(transaction));
    const reason = `Rolled back, as query ${seq} has failed in its transaction: ${error.message}`;
    if (isUnsure && isParsed) this.end("unknown", `${reason}; that may have committed before`);
    else this.end("failed", reason);
  }

  /** The connection is lost, perhaps while this query was running: what is prepared is not. */
  lost(running: Job | undefined): void {
    const isSure = running === undefined || /^(?:stays|rollsBack)/.test(statementIn(running.text).transaction);
    this.end(isSure ? "failed" : "unknown", "Its connection was lost before its transaction was committed");
    this.leavePrepared();
  }

  /** Ends all that was run in the transaction that was open. */
  end(ending: Ending, reason: string): void {
    this.#isOpen = false;
    this.#end(this.#held.splice(0), ending, reason);
  }

  /** Gives up what is prepared: anybody may commit it, or roll it back. */
  leavePrepared(): void {
    for (const held of this.#prepared.values()) {
      this.#end(held, "unknown", "Its XA transaction is prepared, and neither committed nor rolled back here");
    }
    this.#prepared.clear();
  }

  /** Ends what a statement has committed or rolled back. */
  #settle(job: Job, isOpen: boolean): void {
    if (isOpen && keepsTransaction(job.text)) return; // nearly always
    const { transaction, target = "" } = statementIn(job.text);
    if (transaction === "prepares") this.#prepared.set(target, this.#held.splice(0));
    else if (transaction === "rollsBackTo") {
      const at = this.#held.findLastIndex(({ job }) => isSavepoint(job.text, target));
      this.#end(this.#held.splice(at + 1), "failed", `Rolled back to savepoint ${target} by query ${job.seq}`);
    } else if (transaction === "rollsBack") {
      this.#end(this.#take(target), "failed", `Rolled back by query ${job.seq}`);
    } else if (transaction === "commits" || (transaction === "mayCommit" && !isOpen)) {
      this.#end(this.#take(target), "done", "");
    } else if (isOpen && transaction === "unsure") for (const held of this.#held) held.isDoubtful = true;
    else if (!isOpen) {
      const reason = `Its transaction has ended within query ${job.seq}: nobody can tell how`;
      this.#end(this.#held.splice(0), "unknown", reason);
    }
  }

  /** What was prepared under an identifier, and what is held. */
  #take(target: string): readonly Held[] {
    const prepared = this.#prepared.get(target) ?? [];
    this.#prepared.delete(target);
    return [...prepared, ...this.#held.splice(0)];
  }

  #end(ended: readonly Held[], outcome: Ending, reason: string): void {
    for (const { job, rows, isDoubtful } of ended) {
      if (outcome !== "done") job.error = Object.assign(new Error(reason), { code: "ROLLED_BACK" });
      const ending = outcome === "failed" && isDoubtful ? "unknown" : outcome;
      this.#thread.end(this.#worker, job, ending, ending === "done" ? rows : 0);
    }
  }
}

function isSavepoint(text: string, target: string): boolean {
  const { name, target: set } = statementIn(text);
  return name === "SAVEPOINT" && set === target;
}

/** What became of a transaction that is not open any more after an error of this query in it. */
function endingBy(error: DatabaseError, text: string): Ending {
  const { name, transaction } = statementIn(text);
  if (/^(?:stays|rollsBack)/.test(transaction)) return "failed"; // the server has rolled it back
  if (transaction !== "commits" && transaction !== "mayCommit") return "unknown";
  // It was committed before what has failed then, unless it is the commit that has failed.
  const isOfCommit = /^(?:COMMIT|XA)/.test(name) || verdictOf(error) !== "failed" || ofCommits.has(error.errno);
  if (!isOfCommit) return "done";
  return /^(?:COMMIT|XA)/.test(name) && rolledBack.has(error.errno) ? "failed" : "unknown";
}

/** Errors that a commit may meet, other than those that pass by themselves. */
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

/** Errors of a COMMIT after which all of it is rolled back. */
const rolledBack = new Set<number | undefined>([
  1213, // ER_LOCK_DEADLOCK: Galera's certification has failed
  3101, // ER_TRANSACTION_ROLLBACK_DURING_COMMIT
  1402, // ER_XA_RBROLLBACK
  1613, // ER_XA_RBTIMEOUT
  1614, // ER_XA_RBDEADLOCK
]);
