/** The summary as a person reads it. */
import type { Summary } from "../mp.ts";

const failuresShown = 10;

/** The lines of the summary: counts, rate, durations, the first failures. */
export function reportLines(summary: Summary): string[] {
  const { total, done, retries, rows, seconds, perSecond, latencyMs, failures } = summary;
  const others = (["failed", "unknown", "skipped"] as const).filter((outcome) => summary[outcome] > 0);
  const counts = others.map((outcome) => `, ${count(summary[outcome])} ${outcome}`).join("");
  const lines = [
    ...(summary.reason === undefined ? [] : [`ended early: ${summary.reason}`]),
    `${count(done)} of ${count(total)} queries done${counts}, in ${significant(seconds)} s (${count(perSecond)} a second)`,
    `${count(rows)} rows, ${count(retries)} retries; latency ${significant(latencyMs.p50)} ms (median), ` +
      `${significant(latencyMs.p95)} (p95), ${significant(latencyMs.p99)} (p99), ${significant(latencyMs.max)} (longest)`,
  ];
  for (const { seq, at, outcome, code, errno, message, sql } of failures.slice(0, failuresShown)) {
    const origin = at === undefined ? "" : `, ${at}`;
    const number = errno === undefined || errno < 0 ? "" : ` ${errno}`;
    const what = message.startsWith(code) ? message : `${code}${number}: ${message}`;
    lines.push(`query ${seq}${origin} ${outcome}: ${what}`, `    ${sql}`);
  }
  const more = summary.failed + summary.unknown - Math.min(failures.length, failuresShown);
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
