/** `--dry-run`: prints the queries instead of running them; of a resumed run what is left, as an SQL file. */
import { inspect } from "node:util";
import { printable } from "../parent/progress.ts";
import type { Flags } from "./flags.ts";
import type { Hook } from "./hook.ts";
import { journalOptions, readJournal } from "./journal.ts";
import { escapeField } from "./journal-lines.ts";
import { writeOrEnd } from "./output.ts";
import type { Surroundings } from "./setup.ts";
import { filledIn, toSqlFile } from "./sql-file.ts";

/** @throws UsageError for a job log that cannot be read. */
export async function showQueries(flags: Flags, { io, output, drain }: Surroundings): Promise<Hook> {
  const isTerminal = io.stdout.isTTY;
  const print = (text: string | Uint8Array) => writeOrEnd(isTerminal ? safe(text) : text, output, drain);
  if (!flags.resume || flags.joblog === undefined) {
    return { options: { dryRun: (seq, unit) => print(`${seq}\t${lineOf(unit)}\n`) } };
  }
  const journal = await readJournal(flags.joblog, journalOptions(flags));
  return {
    options: {
      resumed: true,
      notes: journal,
      earlier: (seq, unit) => journal.earlier(seq, unit),
      dryRun: (seq, unit) => print(toSqlFile(seq, unit)),
    },
    check: () => drain.signal.aborted || journal.checkEnd(),
    close: () => journal.close(),
  };
}

/** A query's SQL, or whatever unit of work it is, in one line; with the reason if its values keep it from being sent. */
function lineOf(unit: unknown): string {
  const { sql, values } = (typeof unit === "string" ? { sql: unit } : Object(unit)) as Record<string, unknown>;
  if (typeof sql !== "string" && !(sql instanceof Uint8Array))
    return inspect(unit, { breakLength: Number.POSITIVE_INFINITY });
  const text = typeof sql === "string" ? sql : Buffer.from(sql).toString();
  try {
    return escapeField(filledIn({ sql: text, values }));
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
