/** `--dry-run`: prints the queries instead of running them; of a resumed run what is left, as an SQL file, or as NDJSON. */
import { inspect } from "node:util";
import mysql from "mysql2";
import { printable } from "../parent/progress.ts";
import type { Flags } from "./flags.ts";
import type { Hook } from "./hook.ts";
import { journalOptions, readJournal } from "./journal.ts";
import { escapeField } from "./journal-lines.ts";
import { writeOrEnd } from "./output.ts";
import type { Surroundings } from "./setup.ts";
import { toSqlFile } from "./sql-file.ts";
import { toJsonLine } from "./unit-json.ts";

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
      dryRun: (seq, unit, isUnit) => print(isUnit ? toJsonLine(seq, unit) : toSqlFile(seq, unit)),
    },
    check: () => drain.signal.aborted || journal.checkEnd(),
    close: () => journal.close(),
  };
}

/** A query's SQL, or whatever unit of work it is, in one line. */
function lineOf(unit: unknown): string {
  const { sql, values } = (typeof unit === "string" ? { sql: unit } : Object(unit)) as {
    sql?: unknown;
    values?: string[];
  };
  if (typeof sql !== "string" && !(sql instanceof Uint8Array))
    return inspect(unit, { breakLength: Number.POSITIVE_INFINITY });
  const plain = typeof sql === "string" ? sql : Buffer.from(sql).toString();
  return escapeField(values ? mysql.format(plain, values) : plain);
}

/** Without what a terminal obeys, except line ends and tabs. */
function safe(text: string | Uint8Array): string {
  return Buffer.from(text as string)
    .toString()
    .split(/([\n\t])/)
    .map((part, index) => (index % 2 === 0 ? printable(part) : part))
    .join("");
}
