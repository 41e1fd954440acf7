/** `--dry-run`: prints the queries instead of running them. */
import { inspect } from "node:util";
import { myglobals } from "../myglobals.ts";
import { textWithValues } from "../mysql/literal.ts";
import { printable } from "../parent/text.ts";
import type { Hook, Surroundings } from "./feature.ts";
import { features } from "./flag-table.ts";
import { escapeField, writeOrEnd } from "./output.ts";

/** Returns a hook that prints each query on its own line, or in the form that a hook and a feature give to it. */
export async function showQueries({ io, output, progress, drain, hooks }: Surroundings): Promise<Hook> {
  const isTerminal = io.stdout.isTTY;
  const print = (text: string | Uint8Array) => writeOrEnd(isTerminal ? safe(text) : text, output, drain);
  const printLeft = hooks.find((hook) => hook.printLeft)?.printLeft;
  const toSql = printLeft && (await features.find(({ sqlPrinter }) => sqlPrinter)?.sqlPrinter?.());
  const textOf = (seq: number, unit: unknown, isUnit: boolean) =>
    (isUnit ? printLeft : toSql)?.(seq, unit) ?? `${seq}\t${lineOf(unit)}\n`;
  let isLeft = false;
  return {
    options: {
      dryRun(seq, unit, isUnit) {
        isLeft = true;
        return print(textOf(seq, unit, isUnit));
      },
    },
    check({ earlier }) {
      if (!isLeft && earlier.done + earlier.failed + earlier.unknown > 0) progress.log("nothing is left to run");
    },
  };
}

/** Returns a query or unit as one line. Appends the error if its values cannot be sent. */
function lineOf(unit: unknown): string {
  const { sql, values } = (typeof unit === "string" ? { sql: unit } : Object(unit)) as Record<string, unknown>;
  if (typeof sql !== "string" && !(sql instanceof Uint8Array))
    return inspect(unit, { breakLength: Number.POSITIVE_INFINITY });
  const text = typeof sql === "string" ? sql : Buffer.from(sql).toString();
  try {
    return escapeField(textWithValues({ sql: text, values }, myglobals.config?.db?.timezone));
  } catch (error) {
    return `${escapeField(text)} -- fails: ${(error as Error).message}`;
  }
}

/** Removes control characters, except line ends and tabs. */
function safe(text: string | Uint8Array): string {
  return Buffer.from(text as string)
    .toString()
    .split(/([\n\t])/)
    .map((part, index) => (index % 2 === 0 ? printable(part) : part))
    .join("");
}
