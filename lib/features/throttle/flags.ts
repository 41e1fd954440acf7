/** Readers of the values of `--rate`, `--max-load` and `--critical-load`. */
import { UsageError } from "../../command/errors.ts";
import { decimal, type Reader } from "../../command/flags.ts";
import type { LoadLimit } from "./gates.ts";

/** Reads a rate: at least one query in three hours, at most a million a second. */
export const readRate = decimal("queries a second", 0.0001, 1_000_000);

export const readLoadLimits: Reader<readonly LoadLimit[]> = (text, name) =>
  text.split(",").map((item) => {
    const [, variable, most] = /^\s*(\w+)=(\d+(?:\.\d+)?)\s*$/.exec(item) ?? [];
    if (variable && Number(most) <= Number.MAX_SAFE_INTEGER) return { variable, most: Number(most) };
    throw new UsageError(`${name} must be like Threads_running=25,Threads_connected=100, not ${JSON.stringify(text)}`);
  });
