/** What the values of flags mean: numbers within bounds that make sense, and lists. All throw UsageError with the flag's name. */
import { limits } from "../parent/options.ts";
import { UsageError } from "./errors.ts";
import type { LoadLimit } from "./gates.ts";

export function count(name: string, text: string | undefined, least: number, most?: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= (most ?? Number.MAX_SAFE_INTEGER)) return value;
  const range = most === undefined ? `from ${least}` : `from ${least} to ${most}`;
  throw new UsageError(`--${name} must be a whole number ${range}, not ${JSON.stringify(text)}`);
}

export function batch(text: string | undefined): number | "auto" | undefined {
  if (text === "auto" || text === undefined) return text;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= limits.batch) return value;
  throw new UsageError(
    `--batch must be a whole number from 1 to ${limits.batch}, or "auto", not ${JSON.stringify(text)}`,
  );
}

/** A number with a point, written without an exponent. */
function decimal(name: string, text: string, what: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d*\.?\d+$/.test(text) && value >= least && value <= most) return value;
  throw new UsageError(`--${name} must be a number of ${what} from ${least} to ${most}, not ${JSON.stringify(text)}`);
}

export function shard(text: string | undefined): { index: number; count: number } | undefined {
  if (text === undefined) return undefined;
  const [index = 0, count = 0] = (/^(\d{1,9})\/(\d{1,9})$/.exec(text) ?? []).slice(1).map(Number);
  if (index >= 1 && index <= count) return { index, count };
  throw new UsageError(`--shard must be I/N with I from 1 to N, such as 2/3, not ${JSON.stringify(text)}`);
}

/** From one in three hours; nobody sends more than a million a second. */
export function rate(text: string | undefined): number | undefined {
  return text === undefined ? undefined : decimal("rate", text, "queries a second", 0.0001, 1_000_000);
}

export function maxLoad(text: string | undefined): LoadLimit[] {
  return (text?.split(",") ?? []).map((item) => {
    const [, variable, most] = /^\s*(\w+)=(\d+(?:\.\d+)?)\s*$/.exec(item) ?? [];
    if (variable && Number(most) <= Number.MAX_SAFE_INTEGER) return { variable, most: Number(most) };
    throw new UsageError(
      `--max-load must be like Threads_running=25,Threads_connected=100, not ${JSON.stringify(text)}`,
    );
  });
}

export function seconds(name: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : decimal(name, text, "seconds", 0.001, limits.seconds);
}
