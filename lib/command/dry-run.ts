/** `--dry-run`: prints the queries instead of running them; of a resumed run what is left, as an SQL file, or as NDJSON. */
import { inspect } from "node:util";
import { myglobals } from "../myglobals.ts";
import { filledIn } from "../mysql/literal.ts";
import { printable } from "../parent/progress.ts";
import type { CoreFlags } from "./core-flags.ts";
import type { Hook, Surroundings } from "./feature.ts";
import { features } from "./features.ts";
import { escapeField, writeOrEnd } from "./output.ts";
import { toJsonLine } from "./unit-json.ts";

/** Prints each query on a line of its own; of a resumed run, where this copy reads SQL files, as a piece of one. Units are NDJSON then. */
export async function showQueries({ given }: CoreFlags, { io, output, drain }: Surroundings): Promise<Hook> {
  const printer = given.resume ? features.find(({ sqlPrinter }) => sqlPrinter) : undefined;
  const toSql = await printer?.sqlPrinter?.();
  const isTerminal = io.stdout.isTTY;
  const print = (text: string | Uint8Array) => writeOrEnd(isTerminal ? safe(text) : text, output, drain);
  const line = (seq: number, unit: unknown) => `${seq}\t${lineOf(unit)}\n`;
  const toText = !given.resume
    ? line
    : (seq: number, unit: unknown, isUnit: boolean) => (isUnit ? toJsonLine : (toSql ?? line))(seq, unit);
  return { options: { dryRun: (seq, unit, isUnit) => print(toText(seq, unit, isUnit)) } };
}

/** A query's SQL, or whatever unit of work it is, in one line; with the reason if its values keep it from being sent. */
function lineOf(unit: unknown): string {
  const { sql, values } = (typeof unit === "string" ? { sql: unit } : Object(unit)) as Record<string, unknown>;
  if (typeof sql !== "string" && !(sql instanceof Uint8Array))
    return inspect(unit, { breakLength: Number.POSITIVE_INFINITY });
  const text = typeof sql === "string" ? sql : Buffer.from(sql).toString();
  try {
    return escapeField(filledIn({ sql: text, values }, myglobals.config?.db?.timezone));
  } catch (error) {
    return `${escapeField(text)} -- fails: ${(error as Error).message}`;
  }
}

/** Without what a terminal obeys, except line ends and tabs. */
function safe(text: string | Uint8Array): string {
  return Buffer.from(text as string)
    .toString()
    .split(/([\n\t])/)
    .map((part, index) => (index % 2 === 0 ? printable(part) : part))
    .join("");
}
