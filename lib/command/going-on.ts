/** Says how to go on after a run that has not done all. For the hooks of features with a record of what is done. */
import { count } from "../parent/text.ts";
import type { Hook } from "./feature.ts";

/** Way to resume a run, by flags. */
interface Way {
  /** Name of the record of what is done, such as "job log". */
  readonly record: string;
  /** Flag to add to the same command, such as `--resume`. */
  readonly flag?: string;
  /** Another flag, which runs failed queries again. */
  readonly failed?: string;
  /** Another flag, which runs `unknown` queries again. */
  readonly unknown?: string;
  /** Text that says which of the `unknown` queries are run again. */
  readonly unless?: string | undefined;
  /** File with the outcome of each query. */
  readonly file?: string;
}

/** Returns the functions of a hook that say how to go on. */
export function goingOn({ record, flag, failed, unknown, unless = "", file }: Way) {
  const same = (...flags: (string | undefined)[]) => {
    const given = [flag, ...flags].filter(Boolean);
    return `the same command${given.length > 0 ? ` with ${given.join(" ")}` : ""}`;
  };
  return {
    nextSteps(summary, { isComplete = true, isFromFiles = true, isKeyed = false } = {}) {
      const [noun, nouns] = summary.units ? ["unit", "units"] : ["query", "queries"];
      const lines: string[] = [];
      if (summary.unknown > 0)
        lines.push(`what is unknown may have run: look first; ${same(unknown)} runs those again${unless}`);
      if (summary.failed + summary.skipped > 0) lines.push(`to go on: ${summary.failed > 0 ? same(failed) : same()}`);
      if (lines.length > 0 && !isFromFiles) {
        const which = isKeyed ? "what is left again, under the same keys" : `the same ${nouns} again`;
        lines.push(`this works if the script gives ${which}`);
      }
      if (lines.length > 0 && file !== undefined) {
        const isIn = `what became of each ${noun} is in ${file}`;
        lines.push(isComplete ? isIn : `the last that ended are not in ${file}: they will be unknown`);
      }
      return lines;
    },
    finishedLine({ total, earlier, reason }, isKeyed) {
      if (total === 0 || earlier.done < total || reason !== undefined) return undefined;
      const all = total === 1 ? "it" : `all ${count(total)}`;
      const renewed = `${isKeyed ? "new keys, or " : ""}a new ${record}`;
      return `nothing was left to run: the ${record} has ${all}; a new batch needs ${renewed}`;
    },
  } satisfies Hook;
}
