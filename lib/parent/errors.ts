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
