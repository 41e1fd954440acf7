/** The text of a job in a batch: one round trip for several jobs. */
import { inlineValues, isBatchable } from "../mysql/batchable.ts";
import { type Query, valuesOf } from "../shared/query.ts";
import type { Job } from "./job.ts";

/**
 * Returns true if a job can go with others in one round trip. A job that was sent before goes alone.
 *
 * @param withValues true if its values may be written into the text.
 */
export function canShare(job: Job, withValues: boolean): boolean {
  return job.tries === 0 && (withValues || job.bytes !== undefined) && batchTextOf(job) !== false;
}

function batchTextOf(job: Job): Uint8Array | false {
  job.batchText ??= job.bytes ? isBatchable(job.text) && job.bytes : inlined(job.unit as Query);
  return job.batchText;
}

function inlined(query: Query): Uint8Array | false {
  if (typeof query === "string" || typeof query.sql !== "string" || query.values === undefined) return false;
  try {
    const text = inlineValues(query.sql, valuesOf(query));
    return text !== undefined && Buffer.from(text);
  } catch {
    return false; // it goes alone and fails with this error
  }
}
