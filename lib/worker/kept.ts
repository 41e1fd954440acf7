/** What queries have set on the only worker's connection for those after them: with another connection it is lost. */
import { leavings, variablesIn } from "../mysql/variables.ts";
import { sqlOf } from "../shared/query.ts";
import type { Job } from "./job.ts";
import type { Thread } from "./thread.ts";

export class Kept {
  readonly #thread: Thread;
  #hasSent = false;
  /** What was set on this connection, once it is not the first one. */
  #known: Set<string> | undefined;

  constructor(thread: Thread) {
    this.#thread = thread;
    if (thread.settings.isRenewed) this.#known = new Set();
  }

  /** Whether user variables would be lost with a connection that is not the first one. */
  get isAny(): boolean {
    return this.#known !== undefined && [...this.#known].some((name) => name.startsWith("@"));
  }

  /** There is another connection. */
  renew(): void {
    if (this.#hasSent && this.#thread.settings.isOnlyWorker) this.#known = new Set();
  }

  /** Notes what is to be sent; returns what is wrong with it, if it reads what was lost. */
  missing(jobs: readonly Job[]): string | undefined {
    this.#hasSent = true;
    if (!this.#known) return undefined; // nearly always
    for (const { seq, text } of jobs) {
      const variables = variablesIn(text, true);
      const name = [...(variables?.reads ?? [])].find((name) => !this.#known!.has(name) && !this.#isInPrologue(name));
      if (name !== undefined) return `query ${seq} reads ${name}, which was set on a connection that is lost`;
      for (const left of leavings(text, variables)) this.#known.add(left);
    }
    return undefined;
  }

  #isInPrologue(name: string): boolean {
    return this.#thread.prologue.some(({ sql }) => variablesIn(sqlOf({ sql }), true)?.sets.has(name));
  }
}
