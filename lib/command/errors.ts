/** Error messages of one line for the user. */
import { RunError } from "../parent/errors.ts";
import { printable } from "../parent/text.ts";
import { withCauses } from "../shared/causes.ts";
import { placeOf } from "../shared/place.ts";

/** Error that the user must fix. Its message is one line. The exit status is 2. */
export class UsageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(printable(message), options);
  }
}

/** Returns the reason in an error of the operating system. Node writes "ENOENT: no such file or directory, access 'name'". */
export function why(error: unknown): string {
  return (error as Error).message.replace(/^E[A-Z0-9]+: /, "").split(", ")[0]!;
}

/** Formats an error: its message, the script's line that threw it, and its causes if the script threw it. */
export function explain(error: unknown): string {
  const isRun = error instanceof RunError;
  const thrown = isRun ? error.cause : error;
  const place = thrown instanceof Error && !(thrown instanceof UsageError) ? placeOf(thrown) : undefined;
  const message = error instanceof Error ? (isRun || !place ? error.message : withCauses(error)) : error;
  return `${message}${place === undefined ? "" : ` (${place})`}`;
}
