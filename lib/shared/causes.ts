/** Writes an error and its causes as text. */
import { inspect } from "node:util";

/** Limits: nested causes, errors of an AggregateError, characters that are added to the message. */
const most = { depth: 4, errors: 3, length: 500 };

/**
 * Returns the message of an error with its causes and the errors of an AggregateError, such as `fetch failed: connect
 * ECONNREFUSED 127.0.0.1:1`. A cause that the message contains already is left out.
 */
export function withCauses(error: Error): string {
  const message = String(error.message);
  try {
    return textOf(error, most.depth).slice(0, message.length + most.length);
  } catch {
    return message; // a cause that cannot be looked at
  }
}

function textOf(thrown: unknown, depth: number): string {
  if (!(thrown instanceof Error)) {
    return typeof thrown === "string" ? thrown : inspect(thrown, { depth: 0, breakLength: Number.POSITIVE_INFINITY });
  }
  const message = String(thrown.message);
  const causes: unknown[] = thrown instanceof AggregateError ? [...thrown.errors] : [];
  if (thrown.cause !== undefined) causes.push(thrown.cause);
  if (depth === 0 || causes.length === 0) return message;
  const texts = causes.slice(0, most.errors).map((cause) =>
    textOf(cause, depth - 1)
      .replace(/\s+/g, " ")
      .trim(),
  );
  const news = [...new Set(texts)].filter((text) => !message.includes(coreOf(text)));
  if (causes.length > most.errors) news.push(`and ${causes.length - most.errors} more`);
  return [message, news.join("; ")].filter((text) => text !== "").join(": ");
}

/** Returns the middle of Node's "ENOENT: no such file or directory, access 'name'", which a message may repeat. Otherwise the whole text. */
function coreOf(text: string): string {
  return /^E[A-Z0-9]+: ([^,]+), /.exec(text)?.[1] ?? text;
}

/** Identifies a RetryError. `instanceof` does not, because a bundle and a file may each have their own copy of the class. */
const code = "RETRY_UNIT";

/**
 * Error that a `workerDo()` throws to run its unit again. Throw it if the reason may pass, such as an HTTP 429, and if running all
 * of the unit again is harmless. The unit runs again after a rollback and a growing random pause of at most 5 s. It has failed
 * after `--retries` retries.
 *
 * @example
 * ```ts
 * if (response.status === 429) throw new RetryError("Too many requests");
 * ```
 */
export class RetryError extends Error {
  readonly code = code;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "RetryError";
  }
}

export function asksForRetry(error: { readonly code?: string | undefined }): boolean {
  return error.code === code;
}
