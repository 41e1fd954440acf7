/** What the values of flags mean: numbers within bounds that make sense, and lists. All throw UsageError with the flag's name. */

import type { LoadLimit } from "../features/throttle/gates.ts";
import { limits } from "../parent/options.ts";
import { UsageError } from "./errors.ts";

/** Reads a flag's value; `name` is the flag as it was to be written, such as `--retries`. */
export type Reader<Value> = (text: string, name: string) => Value;

export function count(least: number, most?: number): Reader<number> {
  return (text, name) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= (most ?? Number.MAX_SAFE_INTEGER)) return value;
    const range = most === undefined ? `from ${least}` : `from ${least} to ${most}`;
    throw new UsageError(`${name} must be a whole number ${range}, not ${JSON.stringify(text)}`);
  };
}

export const batch: Reader<number | "auto"> = (text, name) => {
  const value = Number(text);
  if (text === "auto") return text;
  if (/^\d+$/.test(text) && value >= 1 && value <= limits.batch) return value;
  throw new UsageError(
    `${name} must be a whole number from 1 to ${limits.batch}, or "auto", not ${JSON.stringify(text)}`,
  );
};

/** A number with a point, written without an exponent. */
function decimal(what: string, least: number, most: number): Reader<number> {
  return (text, name) => {
    const value = Number(text);
    if (/^\d*\.?\d+$/.test(text) && value >= least && value <= most) return value;
    throw new UsageError(`${name} must be a number of ${what} from ${least} to ${most}, not ${JSON.stringify(text)}`);
  };
}

export const seconds = decimal("seconds", 0.001, limits.seconds);

/** From one in three hours; nobody sends more than a million a second. */
export const rate = decimal("queries a second", 0.0001, 1_000_000);

export const shard: Reader<{ index: number; count: number }> = (text, name) => {
  const [index = 0, count = 0] = (/^(\d{1,9})\/(\d{1,9})$/.exec(text) ?? []).slice(1).map(Number);
  if (index >= 1 && index <= count) return { index, count };
  throw new UsageError(`${name} must be I/N with I from 1 to N, such as 2/3, not ${JSON.stringify(text)}`);
};

export const maxLoad: Reader<readonly LoadLimit[]> = (text, name) =>
  text.split(",").map((item) => {
    const [, variable, most] = /^\s*(\w+)=(\d+(?:\.\d+)?)\s*$/.exec(item) ?? [];
    if (variable && Number(most) <= Number.MAX_SAFE_INTEGER) return { variable, most: Number(most) };
    throw new UsageError(`${name} must be like Threads_running=25,Threads_connected=100, not ${JSON.stringify(text)}`);
  });

export const notEmpty: Reader<string> = (text, name) => {
  if (text !== "") return text;
  throw new UsageError(`${name} must not be empty`);
};
