/** Session state, such as user variables, that later queries of a single-worker run may read. A reconnect loses it. */
import { isSetIn, leavings, variablesIn } from "../mysql/variables.ts";
import type { Job } from "./job.ts";
import type { Thread } from "./thread.ts";

export class SessionState {
  readonly #thread: Thread;
  #hasSent = false;
  /** Names that were set on this connection. Undefined on the first connection, where nothing can be lost yet. */
  #known: Set<string> | undefined;

  constructor(thread: Thread) {
    this.#thread = thread;
    if (thread.settings.isRenewed) this.#known = new Set();
  }

  /** True if this is not the first connection, and dropping it would lose user variables. */
  get hasUserVariables(): boolean {
    return this.#known !== undefined && [...this.#known].some((name) => name.startsWith("@"));
  }

  /** Starts anew for another connection. */
  renew(): void {
    if (this.#hasSent && this.#thread.settings.isOnlyWorker) this.#known = new Set();
  }

  /** Notes what these jobs set. Returns an error message if one of them reads what was lost with an earlier connection. */
  findLost(jobs: readonly Job[]): string | undefined {
    this.#hasSent = true;
    if (!this.#known) return undefined; // nearly always: the first connection
    for (const { seq, text } of jobs) {
      const variables = variablesIn(text, true);
      const isLost = (name: string) => !this.#known!.has(name) && !isSetIn(this.#thread.sessionSetup, name);
      const name = [...(variables?.reads ?? [])].find(isLost);
      if (name !== undefined) return `query ${seq} reads ${name}, which was set on a connection that is lost`;
      for (const left of leavings(text, variables)) this.#known.add(left);
    }
    return undefined;
  }
}
