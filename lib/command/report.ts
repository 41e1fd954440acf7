/** The summary as a person reads it. */
import type { Summary } from "../mp.ts";

const failuresShown = 10;
const outcomes = ["done", "failed", "unknown"] as const;

/** The lines of the summary: counts, rate, durations, the first failures. */
export function reportLines(summary: Summary): string[] {
  const { total, done, earlier, retries, rows, seconds, perSecond, latencyMs, failures } = summary;
  const earlierCounts = outcomes.filter((outcome) => earlier[outcome] > 0);
  const others = (["failed", "unknown", "skipped"] as const).filter((outcome) => summary[outcome] > 0);
  const counts = others.map((outcome) => `, ${count(summary[outcome])} ${outcome}`).join("");
  const ended = outcomes.reduce((sum, outcome) => sum + summary[outcome] - earlier[outcome], 0); // by this run
  const rate = ended > 0 ? ` (${perSecond < 10 ? significant(perSecond) : count(perSecond)} a second)` : "";
  const lines = [
    ...(summary.reason === undefined ? [] : [`ended early: ${summary.reason}`]),
    `${count(done)} of ${count(total)} queries done${counts}, in ${significant(seconds)} s${rate}`,
  ];
  if (earlierCounts.length > 0) {
    const list = earlierCounts.map((outcome) => `${count(earlier[outcome])} ${outcome}`).join(", ");
    lines.push(`of these, ${list} in an earlier run`);
  }
  if (ended > 0) {
    const { p50, p95, p99, max } = latencyMs;
    lines.push(
      `${count(rows)} rows, ${count(retries)} retries`,
      `latency ${significant(p50)} ms median, ${significant(p95)} p95, ${significant(p99)} p99, ${significant(max)} longest`,
    );
  }
  const { selfCommitted = 0 } = summary;
  if (selfCommitted > 0) {
    lines.push(`${count(selfCommitted)} committed by themselves, and were recorded in the ledger after they ran`);
  }
  for (const { seq, at, outcome, code, errno, message, sql } of failures.slice(0, failuresShown)) {
    const origin = at === undefined ? "" : `, ${at}`;
    const number = errno === undefined || errno < 0 ? "" : ` ${errno}`;
    const what = message.startsWith(code) ? message : `${code}${number}: ${message}`;
    lines.push(`query ${seq}${origin} ${outcome}: ${what}`, `    ${sql}`);
  }
  const failed = summary.failed + summary.unknown - earlier.failed - earlier.unknown;
  const more = failed - Math.min(failures.length, failuresShown);
  if (more > 0) lines.push(`and ${count(more)} more: --json has the first 100, --joblog F all of them`);
  return lines;
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** Three significant digits. */
function significant(value: number): string {
  return value >= 100 ? count(value) : String(Number(value.toPrecision(3)));
}
