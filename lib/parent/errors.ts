import { withCauses } from "../shared/causes.ts";
import type { Summary } from "./options.ts";

/** Error of the whole run, not of one query. `doWork()` rejects with it. */
export class RunError extends Error {
  /** Counts of the run when it ended. */
  readonly summary: Summary;

  constructor(message: string, summary: Summary, cause?: unknown) {
    super(message, { cause });
    this.name = "RunError";
    this.summary = summary;
  }
}

/** Error in what the caller gave to the run, such as an input that has changed. It is the `cause` of a RunError. */
export class RefusedError extends Error {}

/** Returns the message of an error for a person, with its causes unless it is a RefusedError. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof RefusedError ? error.message : withCauses(error);
}
