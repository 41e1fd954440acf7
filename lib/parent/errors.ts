import { withCauses } from "../shared/causes.ts";
import type { Summary } from "./options.ts";

/** The run as a whole went wrong, not a query of it. */
export class RunError extends Error {
  /** How far it came. */
  readonly summary: Summary;

  constructor(message: string, summary: Summary, cause?: unknown) {
    super(message, { cause });
    this.name = "RunError";
    this.summary = summary;
  }
}

/** What the run was given is not right, such as an input that has changed: the cause of a RunError. */
export class RefusedError extends Error {}

/** What went wrong, in one line for a person. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof RefusedError ? error.message : withCauses(error);
}
