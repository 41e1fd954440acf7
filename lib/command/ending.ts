/** How a run ends: what is printed of it, and the exit status. */
import { RefusedError, RunError, type Summary } from "../mp.ts";
import type { Progress } from "../parent/progress.ts";
import { commandName, explain, UsageError } from "./errors.ts";
import type { Flags } from "./flags.ts";
import type { Journal } from "./journal.ts";
import type { Output } from "./output.ts";
import { reportLines, waysOn } from "./report.ts";

/** How far the queries came, and what was wrong with the run. */
export interface Run {
  readonly summary: Summary;
  readonly error?: Error;
}

/**
 * Runs `main`, and looks whether the input has ended as the job log knows it.
 *
 * @throws whatever `main` throws before a query was to be run, and after the run.
 */
export async function runToEnd(main: () => Promise<Summary>, journal: Journal | undefined): Promise<Run> {
  let summary: Summary;
  try {
    summary = await main();
  } catch (error) {
    if (!(error instanceof RunError) || error.summary.workers === 0 || error.summary.total === 0) throw error;
    const { reason } = error.summary;
    return {
      summary: { ...error.summary, ...(reason && { reason: reason.replace(error.message, () => explain(error)) }) },
      error,
    };
  }
  try {
    if (summary.reason === undefined) journal?.checkEnd();
    return { summary };
  } catch (error) {
    return { summary, error: error as Error };
  }
}

/** Prints what became of the run; returns the exit status. */
export async function finish(
  { summary, error }: Run,
  flags: Flags & { readonly onSandbox: boolean; readonly dependsOnOrder: boolean },
  journal: Journal | undefined,
  progress: Progress,
  output: Output,
): Promise<number> {
  const isRefused = [error, error?.cause].some((what) => what instanceof UsageError || what instanceof RefusedError);
  const broken = await journal?.flush();
  for (const { message } of [error, broken].filter((what) => what !== undefined)) {
    if (!summary.reason?.includes(message)) progress.log(`${commandName}: ${message}`);
  }
  const status = summary.unknown > 0 ? 3 : error || broken || summary.done < summary.total ? 1 : 0;
  const isWrong = error || broken || summary.failed + summary.unknown > 0 || (summary.skipped > 0 && !output.closed);
  if (!flags.quiet || isWrong) for (const line of reportLines(summary, journal?.leftUnknown)) progress.log(line);
  if (flags.json) void output.write(`${toJson({ ...summary, seconds: Math.round(summary.seconds * 1000) / 1000 })}\n`);
  await output.flush();
  // A changed input is refused again, rows and what a connection had set do not come again, and the sandbox is gone.
  if (!isRefused && !output.failure && !flags.dependsOnOrder && !flags.onSandbox) {
    for (const line of waysOn(summary, flags, broken === undefined)) progress.log(line);
  }
  return written(isRefused ? 2 : status, output, progress);
}

/** The exit status, which tells when not all could be written; a reader that wants no more, such as `head`, is normal. */
export async function written(status: number, output: Output, progress: Progress): Promise<number> {
  await output.flush();
  if (!output.failure || output.closed) return status;
  progress.log(`${commandName}: Cannot write to stdout: ${output.failure.message}`);
  return Math.max(1, status);
}

/** JSON in one line, without the control characters that JSON lets pass. */
function toJson(value: unknown): string {
  return JSON.stringify(value).replace(/[\x7f-\x9f]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`);
}
