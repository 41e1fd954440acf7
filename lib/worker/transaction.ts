/** The user's own transaction on a worker's connection: what it takes back is not done. */
import { isAtomic, keepsTransaction, rollbackTarget, savepointName, sessionStatement } from "../mysql/statement.ts";
import type { Job } from "./job.ts";
import type { Thread } from "./thread.ts";

interface Held {
  readonly job: Job;
  readonly rows: number;
}

export class Transaction {
  readonly #worker: number;
  readonly #thread: Thread;
  /** What was answered inside it, in order. */
  #held: Held[] = [];
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
    if (this.#isOpen) this.#settle(job, isOpen);
    this.#isOpen = isOpen;
    if (isOpen) {
      job.noteAnswered();
      this.#held.push({ job, rows });
    } else this.#thread.end(this.#worker, job, "done", rows);
  }

  /** The transaction is gone: what was run in it is taken back, or perhaps not. */
  lost(reason: string, mayBeCommitted = false): void {
    this.#isOpen = false;
    this.#end(this.#held.splice(0), mayBeCommitted ? "unknown" : "failed", reason);
  }

  /** Ends what a statement has committed or rolled back. */
  #settle(job: Job, isOpen: boolean): void {
    const { text, seq } = job;
    const statement = sessionStatement(text);
    const target = rollbackTarget(text);
    if (target !== undefined) {
      const at = this.#held.findLastIndex((held) => savepointName(held.job.text) === target);
      this.#end(this.#held.splice(at + 1), "failed", `Rolled back to savepoint ${target} by query ${seq}`);
    } else if (statement === "ROLLBACK") {
      this.#end(this.#held.splice(0), "failed", `Rolled back by query ${seq}`);
    } else if (!isOpen || /^(?:BEGIN|START|COMMIT)/.test(statement ?? "")) {
      const isCommitted = statement
        ? statement !== "XA" && statement !== "EXECUTE"
        : isAtomic(text) && !keepsTransaction(text);
      const reason = `Its transaction has ended within query ${seq}: nobody can tell how`;
      this.#end(this.#held.splice(0), isCommitted ? "done" : "unknown", reason);
    }
  }

  #end(ended: readonly Held[], outcome: "done" | "failed" | "unknown", reason: string): void {
    for (const { job, rows } of ended) {
      if (outcome !== "done") job.error = Object.assign(new Error(reason), { code: "ROLLED_BACK" });
      this.#thread.end(this.#worker, job, outcome, outcome === "done" ? rows : 0);
    }
  }
}
