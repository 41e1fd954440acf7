/** Connects the job log with a run. */
import type { CoreFlags } from "../../command/core-flags.ts";
import { UsageError } from "../../command/errors.ts";
import type { Context, Hook } from "../../command/feature.ts";
import { goingOn } from "../../command/going-on.ts";
import { queryLines } from "../../command/report.ts";
import type { Failure, Gate, Summary } from "../../mp.ts";
import { count } from "../../parent/text.ts";
import { describeUnit, nameOfQuery } from "../../shared/query.ts";
import type { JournalOptions } from "./journal.ts";
import { describeValues } from "./journal-lines.ts";
import { openJournal } from "./open-journal.ts";

type Flags = CoreFlags & Pick<JournalOptions, "resume" | "retryFailed" | "retryUnknown">;

/** @throws UsageError for a job log that cannot be used. */
export async function keepJobLog(path: string, flags: Flags, { hooks }: Context): Promise<Hook> {
  const { resume, retryFailed, retryUnknown, idempotent, shard, dryRun } = flags;
  const unless = hooks.find(({ decidesUnknown }) => decidesUnknown)?.decidesUnknown;
  const isDecided = unless !== undefined;
  const options: JournalOptions = {
    resume,
    retryFailed,
    retryUnknown: retryUnknown || idempotent || isDecided,
    ...(shard && { shard: `${shard.index}/${shard.count}` }),
  };
  const journal = await openJournal(path, options, dryRun ? "read" : "append");
  return {
    options: {
      earlier: (seq, unit, isUnit) => journal.earlier(seq, unit, isUnit ? "unit" : "query"),
      earlierTo: journal.knownTo,
      resumed: journal.isResumed,
      checkpoints: journal,
      onEnded: (ended, unit) => journal.ended(ended, unit),
      gates: [{ ...releaseAhead(), admitted: (seq) => journal.releaseTo(seq) }],
    },
    ...(dryRun && { printLeft: toJsonLine }),
    // With a ledger there is nothing to take back, because a query that is done does not run again.
    ...(!isDecided && {
      takeBack: async (seqs: ReadonlySet<number>, summary: Summary) =>
        withUnknown(summary, await journal.takeBack(seqs)),
    }),
    flush: () => journal.flush(),
    lines: (summary) => linesOfLeft(summary, journal.leftUnknown),
    note: (change) => journal.comment(change),
    file: path,
    ...goingOn({
      record: "job log",
      flag: "--resume",
      failed: "--retry-failed",
      ...(isDecided ? { unless } : { unknown: "--retry-unknown" }),
      file: path,
    }),
    close: () => journal.close(),
  };
}

/** Returns the summary of a run of which these queries are `unknown` that were done. */
function withUnknown(summary: Summary, unknown: readonly Failure[]): Summary {
  const [first, ...next] = unknown;
  if (!first) return summary;
  const { length } = unknown;
  const failures = [...summary.failures, ...unknown].slice(0, 100);
  const kind = { count: length, first, next: next.slice(0, 4).map(({ seq }) => ({ seq })) };
  const failureKinds = [kind, ...summary.failureKinds];
  return { ...summary, done: summary.done - length, unknown: summary.unknown + length, failures, failureKinds };
}

/** Returns lines about the first queries that an earlier run has left `unknown`. */
export function linesOfLeft(
  { earlier, units }: Summary,
  left: readonly { readonly seq: number; readonly unit: unknown }[],
): string[] {
  const lines = left.flatMap(({ seq, unit }) => [
    `${nameOfQuery(seq, unit, units ? "unit" : "query")} unknown`,
    ...queryLines(describeUnit(unit), describeValues(unit)),
  ]);
  const more = earlier.unknown - left.length;
  return left.length > 0 && more > 0 ? [...lines, `and ${count(more)} more unknown`] : lines;
}

/** Gate that admits about as many queries as the workers claim in 100 ms, and at least two per worker. */
export function releaseAhead(): Gate {
  const samples: { at: number; ended: number }[] = [];
  return {
    limit(ended, workers) {
      const at = performance.now();
      samples.push({ at, ended });
      while (samples.length > 2 && at - samples[1]!.at > 100) samples.shift();
      return ended + Math.max(2 * workers, ended - samples[0]!.ended);
    },
  };
}

/**
 * Returns a line such as `{"seq":7,"unit":{"path":"a"}}`. As in `--rows`, a bigint becomes its digits, and bytes become base64.
 * A Map becomes a list of pairs, a Set a list.
 *
 * @throws UsageError for a unit that refers to itself.
 */
export function toJsonLine(seq: number, unit: unknown): string {
  try {
    return `${JSON.stringify({ seq, unit }, plain)}\n`;
  } catch (error) {
    const [why] = (error as Error).message.split("\n");
    throw new UsageError(`Cannot print ${nameOfQuery(seq, unit, "unit")}, as JSON: ${why}`);
  }
}

/** Replaces values for `JSON.stringify()`. Reads them from `this`, because `made` is already the result of their `toJSON()`. */
function plain(this: Record<string, unknown>, name: string, made: unknown): unknown {
  const value = this[name];
  if (typeof value === "bigint") return String(value);
  if (ArrayBuffer.isView(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64");
  if (value instanceof ArrayBuffer) return Buffer.from(value).toString("base64");
  return value instanceof Map || value instanceof Set ? [...value] : made;
}
