/** The benchmark's report as text. */
import { type Figure, figures, type Ratio, type Runs } from "./ratios.ts";
import { type Spread, spread } from "./statistics.ts";
import type { Work } from "./works.ts";

/** The rules of measuring, printed above the tables. */
export const rules = `\
Each figure is the median of the rounds, with the smallest and the largest; contestants take turns: A B C A B C ...
A ratio is that of two runs of the same round. A run that was disturbed by something else is done again, up to twice.
work phase    from 5 to 95 % of the queries as the server counts them, asked ten times a second for everyone alike: starting
              and ending are left out. "-" where that was too short
exec to exit  all of it. Processor time is user + system of all processes of the contestant
peak memory   of all processes of the contestant together: PSS, which counts a shared page once`;

const count = (value: number) => Math.round(value).toLocaleString("en");
const digits = (value: number) => (value >= 100 ? count(value) : value.toPrecision(3));
const seconds = (value: number) => value.toFixed(2);
const megabytes = (value: number) => count(value / 1e6);

/** Returns the table of a work: a line for each contestant. */
export function workTable({ unit, shows = ["rate", "cpu", "memory", "wall"] }: Work, runs: Runs): string {
  const titles: Record<Figure, [titles: string[], show: (value: number) => string]> = {
    rate: [[unit === "row" ? "rows/s, work phase" : "queries/s, work phase", "exec to exit"], count],
    cpu: [[`µs CPU/${unit}, work phase`, "exec to exit"], digits],
    memory: [["peak MB"], megabytes],
    wall: [["wall s"], seconds],
    ready: [["ready s"], seconds],
  };
  const columns = shows.flatMap((figure) => {
    const [names, show] = titles[figure];
    return Object.values(figures[figure]).map((value, index) => ({ title: names[index]!, value, show }));
  });
  const lines = [...runs].map(([name, rounds]) => [
    name,
    ...columns.map(({ value, show }) => cell(spread(rounds.map((run) => run && value(run))), show)),
  ]);
  const all = [["", ...columns.map(({ title }) => title)], ...lines];
  const isShown = (column: number) => lines.some((line) => line[column] !== "-");
  return table(all.map((line) => line.filter((_, column) => isShown(column))));
}

/** Returns the table of memory over time: megabytes at eleven moments of each contestant's last run. */
export function memoryTable(runs: Runs): string {
  const moments = Array.from({ length: 11 }, (_, tenth) => tenth / 10);
  const lines = [...runs].flatMap(([name, rounds]) => {
    const run = rounds.findLast((each) => each !== undefined);
    if (!run) return [];
    const at = (part: number) =>
      run.memory.findLast(({ seconds }) => seconds <= part * run.wallSeconds) ?? run.memory[0];
    return [[name, ...moments.map((part) => megabytes(at(part)?.bytes ?? 0))]];
  });
  return table([["MB after part of the time", ...moments.map((part) => `${part * 100} %`)], ...lines]);
}

/** Returns the table of ratios and their targets. */
export function ratioTable(ratios: readonly Ratio[]): string {
  const lines = ratios.map(({ work, ours, against, figure, target, ratio, reached }) => [
    `(${work}) ${ours}`,
    against,
    figure,
    target,
    cell(ratio, digits),
    reached === undefined ? "-" : reached ? "yes" : "NO",
  ]);
  return table([["ours", "against", "figure", "target", "ratio", "reached"], ...lines]);
}

function cell(value: Spread | undefined, show: (value: number) => string): string {
  return value ? `${show(value.median)} (${show(value.min)}-${show(value.max)})` : "-";
}

/** Aligns the columns. The first line is the header. */
function table(lines: readonly (readonly string[])[]): string {
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const text = lines.map((line) =>
    line
      .map((word, column) => word.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
  return [text[0], "-".repeat(Math.max(...text.map((line) => line.length))), ...text.slice(1)].join("\n");
}
