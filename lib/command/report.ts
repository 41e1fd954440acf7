/** Formats the summary for people. */
import { inspect } from "node:util";
import type { FailureKind, Summary } from "../mp.ts";
import { count, counted } from "../parent/text.ts";
import { nameOfQuery } from "../shared/query.ts";

type Noun = "query" | "unit";

const kindsShown = 10;
/** Shortest wait in seconds that gets a line. */
const leastWaited = 1;
const outcomes = ["done", "failed", "unknown"] as const;

/** Returns the lines of the summary, with those that the hooks add. */
export function reportLines(summary: Summary, added: readonly string[] = [], file?: string): string[] {
  const { total, done, earlier, retries, rows, seconds, perSecond, latencyMs, failureKinds } = summary;
  const earlierCounts = outcomes.filter((outcome) => earlier[outcome] > 0);
  const others = (["failed", "unknown", "skipped"] as const).filter((outcome) => summary[outcome] > 0);
  const counts = others.map((outcome) => `, ${count(summary[outcome])} ${outcome}`).join("");
  const ended = outcomes.reduce((sum, outcome) => sum + summary[outcome] - earlier[outcome], 0); // by this run
  const rate = ended > 0 ? ` (${perSecond < 10 ? significant(perSecond) : count(Math.round(perSecond))} a second)` : "";
  const atLeast = /not all \w+ were read$/.test(summary.reason ?? "") ? "at least " : "";
  const [noun, nouns] = summary.units ? (["unit", "units"] as const) : (["query", "queries"] as const);
  const lines = [
    ...(summary.reason === undefined ? [] : [`ended early: ${summary.reason}`]),
    `${count(done)} of ${atLeast}${count(total)} ${nouns} done${counts}, in ${significant(seconds)} s${rate}`,
  ];
  if (earlierCounts.length > 0) {
    const list = earlierCounts.map((outcome) => `${count(earlier[outcome])} ${outcome}`).join(", ");
    lines.push(`of these, ${list} in an earlier run`);
  }
  lines.push(...added);
  if (ended > 0) {
    const { p50, p95, p99, max } = latencyMs;
    lines.push(
      `${counted(rows, "row")}, ${counted(retries, "retry", "retries")}`,
      `latency ${significant(p50)} ms median, ${significant(p95)} p95, ${significant(p99)} p99, ${significant(max)} longest`,
    );
  }
  for (const { seconds: waited, reason } of summary.waited ?? []) {
    if (waited >= leastWaited) lines.push(`workers waited ${significant(waited)} s for a server: ${reason}`);
  }
  lines.push(...warningLines(summary, noun, nouns));
  const shown = failureKinds.slice(0, kindsShown);
  lines.push(...shown.flatMap((kind) => kindLines(kind, noun)));
  const failed = summary.failed + summary.unknown - earlier.failed - earlier.unknown;
  const more = failed - shown.reduce((sum, kind) => sum + kind.count, 0);
  if (more > 0)
    lines.push(`and ${count(more)} more: --json has the first 100${file === undefined ? "" : `, ${file} all of them`}`);
  return lines;
}

/** Returns the number of warnings, and a line for each of the first queries with warnings. */
function warningLines({ warnings, warnedQueries, firstWarned = [] }: Summary, noun: Noun, nouns: string): string[] {
  if (warnings === 0) return [];
  const lines = firstWarned.map((query) => {
    const [first] = query.messages ?? [];
    const lost = query.messages ? "the server does not tell its text" : "its text is lost, as others followed";
    const text = first ? `${first.level} ${first.code}: ${first.message}` : lost;
    const info = query.info === undefined ? "" : ` (${query.info.replace(/ +/g, " ")})`;
    return `${nameOfQuery(query.seq, query, noun)}: ${counted(query.warnings, "warning")}: ${text}${info}`;
  });
  return [`${counted(warnings, "warning")} in ${counted(warnedQueries, noun, nouns)}`, ...lines];
}

/** Returns the first failure of a kind in full, and the places of the others. */
function kindLines({ first, count: all, next }: FailureKind, noun: Noun): string[] {
  const { seq, outcome, code, errno, message, sql, values } = first;
  const number = errno === undefined || errno < 0 ? "" : ` ${errno}`;
  const what = message.startsWith(code) ? message : `${code}${number}: ${message}`;
  const lines = [`${nameOfQuery(seq, first, noun)} ${outcome}: ${what}`, ...queryLines(sql, values && oneLine(values))];
  if (all === 1) return lines;
  const places = next.map((other) => nameOfQuery(other.seq, other, noun)).join("; ");
  return [...lines, `    ${count(all - 1)} more like it: ${places}${all - 1 > next.length ? "; ..." : ""}`];
}

export function queryLines(sql: string, values: string | undefined): string[] {
  return values === undefined ? [`    ${sql}`] : [`    ${sql}`, `    values: ${values}`];
}

function oneLine(values: unknown[]): string {
  return inspect(values, { depth: 1, breakLength: Number.POSITIVE_INFINITY }).slice(0, 400);
}

/** Formats a number with three significant digits. */
function significant(value: number): string {
  return value >= 100 ? count(Math.round(value)) : String(Number(value.toPrecision(3)));
}
