/** What is wrong, in one line for the person who runs the command. */
import { RunError } from "../parent/errors.ts";
import { printable } from "../parent/progress.ts";
import { withCauses } from "../shared/causes.ts";
import { placeOf } from "../shared/place.ts";

/** What the person who runs the command has to put right, in one line; the exit status is 2. */
export class UsageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(printable(message), options);
  }
}

/** Why the operating system refused: Node says "ENOENT: no such file or directory, access 'name'". */
export function why(error: unknown): string {
  return (error as Error).message.replace(/^E[A-Z0-9]+: /, "").split(", ")[0]!;
}

/** The table that the unedited script updates. Only the sandbox has it. */
const exampleTable = "myscript_orders";

/** What an error says, where in the script it was thrown, and, if it is the script's own, what has caused it. */
export function explain(error: unknown): string {
  const isRun = error instanceof RunError;
  const thrown = isRun ? error.cause : error;
  const place = thrown instanceof Error && !(thrown instanceof UsageError) ? placeOf(thrown) : undefined;
  const message = error instanceof Error ? (isRun || !place ? error.message : withCauses(error)) : error;
  const text = `${message}${place === undefined ? "" : ` (${place})`}`;
  return text.includes(exampleTable)
    ? `${text}: buildQueries() is still the example: edit it, or name SQL files`
    : text;
}
