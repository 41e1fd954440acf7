/** Ends a run: prints the summary, and decides on the exit status. */
import { RefusedError, RunError, type Summary } from "../mp.ts";
import type { Progress } from "../parent/progress.ts";
import type { CoreFlags } from "./core-flags.ts";
import { explain, UsageError } from "./errors.ts";
import type { Hook } from "./feature.ts";
import type { Output } from "./output.ts";
import { reportLines } from "./report.ts";
import type { Setup } from "./setup.ts";

/** A run that has ended, and the error that has ended it. */
export interface EndedRun {
  readonly summary: Summary;
  readonly error?: Error;
}

/**
 * Runs `main`, and lets the hooks check its summary.
 *
 * @throws any error of `main` other than a RunError. A RunError is thrown only if no query was to be run, or none was run
 * for want of a connection or of a valid input.
 */
export async function runToEnd(main: () => Promise<Summary>, hooks: readonly Hook[]): Promise<EndedRun> {
  let summary: Summary;
  try {
    summary = await main();
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    const { reason, workers, total, skipped, earlier } = error.summary;
    if (total === 0) throw error;
    // If nothing has run, the error is enough. A refusal may come before or after the first worker connects, by chance.
    const hasRun = skipped + earlier.done + earlier.failed + earlier.unknown < total;
    if (!hasRun && (workers === 0 || isRefusal(error))) throw error;
    return {
      summary: { ...error.summary, ...(reason && { reason: reason.replace(error.message, () => explain(error)) }) },
      error,
    };
  }
  if (typeof summary?.total !== "number")
    throw new UsageError("The function that runCommand() gets must return what doWork() returns");
  try {
    for (const hook of hooks) hook.check?.(summary);
    return { summary };
  } catch (error) {
    return { summary, error: error as Error };
  }
}

/** Prints an error after the name of the script. */
type Complain = (message: string) => void;

/** Facts about the set-up that the end of a run depends on. */
export interface Facts extends CoreFlags, Omit<Setup, "command"> {
  readonly complain: Complain;
}

/** Prints the summary and the next steps. Returns the exit status. */
export async function finish(
  { summary: ended, error }: EndedRun,
  facts: Facts,
  hooks: readonly Hook[],
  progress: Progress,
  output: Output,
): Promise<number> {
  const isRefused = isRefusal(error);
  const file = hooks.find((hook) => hook.file)?.file;
  let unwritten: Error | undefined;
  const lostRows = await Promise.all(hooks.map((hook) => hook.lostRows?.() ?? []));
  const seqs = new Set(lostRows.flatMap((each) => [...each]));
  const takeBack = seqs.size > 0 ? hooks.find((hook) => hook.takeBack)?.takeBack : undefined;
  const summary = takeBack ? await takeBack(seqs, ended) : ended;
  const lost = takeBack ? 0 : seqs.size; // cannot be given again
  for (const hook of hooks) unwritten ??= await hook.flush?.();
  for (const { message } of [error, unwritten].filter((what) => what !== undefined)) {
    if (!summary.reason?.includes(message)) facts.complain(message);
  }
  if (lost > 0) {
    facts.complain(
      `The rows of ${lost === 1 ? "a query" : `${lost} queries`} may not have been read, and are not given again`,
    );
  }
  const status = summary.unknown > 0 ? 3 : error || unwritten || lost > 0 || summary.done < summary.total ? 1 : 0;
  const hasFailed = summary.failed + summary.unknown > 0 || (summary.skipped > 0 && !output.closed);
  if (!facts.quiet || error || unwritten || hasFailed || warnsOfMore(summary)) {
    const added = hooks.flatMap((hook) => hook.lines?.(summary) ?? []);
    const finished = hooks.find((hook) => hook.finishedLine)?.finishedLine?.(summary, facts.isKeyed()) ?? [];
    for (const line of reportLines(summary, added, file).concat(finished)) progress.log(line);
  }
  if (facts.json) void output.write(`${toJson({ ...summary, seconds: Math.round(summary.seconds * 1000) / 1000 })}\n`);
  await output.flush();
  // Print next steps only if they work. A changed input is refused again. Session state of an ordered input is lost. Without a
  // job log, lost rows are not printed again. The sandbox is gone.
  const isOrdered = facts.workers === 1 && facts.fileQueries?.orderedFrom !== undefined;
  const mayGoOn = !output.failure || file !== undefined;
  if (!isRefused && mayGoOn && !isOrdered && !facts.isOnSandbox) {
    const isFromFiles = facts.fileQueries !== undefined;
    const stepFacts = { isComplete: unwritten === undefined, isFromFiles, isKeyed: facts.isKeyed() };
    const steps = hooks.findLast((hook) => hook.nextSteps)?.nextSteps?.(summary, stepFacts) ?? [];
    for (const line of steps) progress.log(line);
  }
  return statusWhenWritten(isRefused ? 2 : status, output, facts.complain);
}

/** Returns true if there are warnings that are not certainly all notes. */
function warnsOfMore({ warnings, firstWarned = [] }: Summary): boolean {
  const areNotes = firstWarned.every(({ messages }) => messages?.every(({ level }) => level === "Note"));
  return warnings > 0 && !areNotes;
}

/** Returns `status`, or at least 1 if writing to stdout has failed. Readers such as `head` may close it early. */
export async function statusWhenWritten(status: number, output: Output, complain: Complain): Promise<number> {
  await output.flush();
  if (!output.failure || output.closed) return status;
  complain(`Cannot write to stdout: ${output.failure.message}`);
  return Math.max(1, status);
}

/** Returns true if the run was refused because of its settings or its input. */
function isRefusal(error: Error | undefined): boolean {
  return [error, error?.cause].some((what) => what instanceof UsageError || what instanceof RefusedError);
}

/** Returns JSON on one line. Also escapes the control characters that `JSON.stringify()` does not. */
function toJson(value: unknown): string {
  return JSON.stringify(value).replace(/[\x7f-\x9f]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`);
}
