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
