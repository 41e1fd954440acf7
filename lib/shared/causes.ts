/** An error in words, with what has caused it. */
import { inspect } from "node:util";

/** Limits: causes of causes, errors of an AggregateError, characters that are added to the message. */
const most = { depth: 4, errors: 3, length: 500 };

/**
 * Adds the causes of an error, and the errors of an AggregateError, to its message: `fetch failed: connect ECONNREFUSED
 * 127.0.0.1:1`. Leaves out what the message says already.
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

/** Node says "ENOENT: no such file or directory, access 'name'". */
function coreOf(text: string): string {
  return /^E[A-Z0-9]+: ([^,]+), /.exec(text)?.[1] ?? text;
}

/** Tells an error of this class by more than its class: a bundle and a file may each have one of their own. */
const code = "RETRY_UNIT";

/**
 * Asks for another try of a unit: a `workerDo()` throws it when the reason may pass, such as an HTTP 429, and doing all of the
 * unit again is harmless. After a rollback and a growing random pause, at most 5 s, the unit is done again, `--retries` times
 * at most; then it has failed.
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
