/** What the values of flags mean: numbers within bounds that make sense, and lists. All throw UsageError with the flag's name. */

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

/** A number with a point, written without an exponent. */
export function decimal(what: string, least: number, most: number): Reader<number> {
  return (text, name) => {
    const value = Number(text);
    if (/^\d*\.?\d+$/.test(text) && value >= least && value <= most) return value;
    throw new UsageError(`${name} must be a number of ${what} from ${least} to ${most}, not ${JSON.stringify(text)}`);
  };
}

export const seconds = decimal("seconds", 0.001, limits.seconds);

export const shard: Reader<{ index: number; count: number }> = (text, name) => {
  const [index = 0, count = 0] = (/^(\d{1,9})\/(\d{1,9})$/.exec(text) ?? []).slice(1).map(Number);
  if (index >= 1 && index <= count) return { index, count };
  throw new UsageError(`${name} must be I/N with I from 1 to N, such as 2/3, not ${JSON.stringify(text)}`);
};

export const notEmpty: Reader<string> = (text, name) => {
  if (text !== "") return text;
  throw new UsageError(`${name} must not be empty`);
};

/** Of a limit that is changed while the run goes on: takes it away. */
export function isOff(argument: string): boolean {
  return argument === "off";
}
