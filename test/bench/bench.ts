/**
 * Runs this project and its peers on the same work, in turns, on one throwaway server. Prints rates and ratios.
 *
 *     npm run bench                          everything, five rounds
 *     npm run bench -- --quick               work (a) beside mysql2's callbacks in one thread, in two minutes
 *     npm run bench -- --start               the time of each step of a start, beside an empty script
 *     npm run bench -- --threads             the default number of threads beside one and two, on one and two processors
 *     npm run bench -- a e --rounds 7        two of the works
 *     npm run bench -- --scale 0.05          a twentieth of the work, to see that it runs
 *     npm run bench -- a --only myscript     the contestants whose name contains that
 *     npm run bench -- a d h i --svg DIR     also writes the two charts
 *     npm run -s bench -- --json             all runs as one JSON document
 *
 * BENCH_NODE24=/path/to/node adds this project without tsx, on a Node that reads TypeScript. A contestant that cannot run is
 * named and left out. A target that is not reached is printed, and the exit status stays 0.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chart } from "./chart.ts";
import { type Contestant, loopName } from "./contestants.ts";
import { killRunning, measure, quiet, type Run } from "./measure.ts";
import { compare, figures, type Ratio, type Runs } from "./ratios.ts";
import { memoryTable, ratioTable, rules, workTable } from "./report.ts";
import { here, native, runtimes } from "./runtime.ts";
import { startServer } from "./server.ts";
import { timeline } from "./start.ts";
import { spread } from "./statistics.ts";
import { threadsTable } from "./threads.ts";
import { type Place, type Work, works } from "./works.ts";

/** The number of processors that other processes may use on average. Above it, a run counts as disturbed. */
const foreignLimit = 0.1;

const usage =
  "npm run bench -- [a b c d e f g h i] [--quick] [--start] [--threads] [--rounds N] [--scale X] [--only NAME] [--json] [--svg DIR]";
const { options, rounds, scale, selected } = readArguments();
if (process.platform !== "linux") throw new Error(`Cannot measure on ${process.platform}: it takes Linux's /proc`);
const leftOut: Record<string, string> = {};
const ratios: Ratio[] = [];
const results: { work: Work; runs: Runs }[] = [];

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, abort);
const directory = mkdtempSync(join(tmpdir(), "myscript-bench-"));
process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
const server = await startServer();
const machine = {
  processors: `${availableParallelism()} x ${cpus()[0]?.model}`,
  server: server.version,
  runtimes: runtimes.map(({ name }) => name),
  loadBefore: loadavg()[0]!,
  rounds,
  scale,
};
try {
  if (options.start) console.log(await timeline(server, directory, rounds));
  else if (options.threads) console.log(await threadsTable(server, directory, rounds, scale));
  else for (const work of selected) await runWork(work);
} finally {
  await server.stop();
}
if (options.svg !== undefined) {
  writeFileSync(join(options.svg, "chart.svg"), draw(["a"], ["per second, work phase", "per second, exec to exit"]));
  writeFileSync(join(options.svg, "work.svg"), draw(["h", "i", "d"], ["per second, exec to exit"]));
}
if (!options.start && !options.threads) console.log(options.json ? JSON.stringify(document()) : report());

async function runWork(work: Work): Promise<void> {
  const place: Place = { socketPath: server.socketPath, directory };
  await work.prepare?.(server, scale);
  const { contestants, pairs: all } = work.plan(place, scale);
  const pairs = options.quick ? all.filter(({ against }) => against.name.startsWith(loopName)) : all;
  const quick = new Set(pairs.flatMap(({ ours, against }) => [...ours, against].map(({ name }) => name)));
  const small = work.plan(place, Math.min(scale, 0.01)).contestants;
  const present = contestants.filter((contestant) => {
    if (!contestant.name.includes(options.only) || (options.quick && !quick.has(contestant.name))) return false;
    const why = contestant.missing?.();
    if (why !== undefined) leftOut[`(${work.id}) ${contestant.name}`] = why;
    return why === undefined;
  });
  const runs = new Map<string, (Run | undefined)[]>(present.map(({ name }) => [name, []]));
  for (const contestant of present) await run(`(${work.id}) warm-up`, small[contestants.indexOf(contestant)]!);
  for (let round = 1; round <= rounds; round++) {
    for (const contestant of present) {
      runs.get(contestant.name)!.push(await run(`(${work.id}) ${round}/${rounds}`, contestant));
    }
  }
  ratios.push(...pairs.flatMap((pair) => compare(work.id, pair, runs)).filter(({ ratio }) => ratio || !options.only));
  results.push({ work, runs });
  await work.restore?.(server);
}

/**
 * Measures a contestant once and reports it on stderr. Repeats a disturbed run up to twice and returns the least disturbed one.
 * Returns undefined if the contestant failed.
 */
async function run(step: string, contestant: Contestant): Promise<Run | undefined> {
  const runs: Run[] = [];
  try {
    do {
      await quiet();
      const measured = await measure(contestant, server);
      const { perSecond, wallSeconds, foreignProcessors } = measured;
      const others = disturbed(measured) ? `; others kept ${foreignProcessors.toFixed(2)} processors busy` : "";
      console.error(
        `${step} ${contestant.name}: ${wallSeconds.toFixed(2)} s, ${Math.round(perSecond)} a second${others}`,
      );
      runs.push(measured);
    } while (disturbed(runs.at(-1)!) && runs.length < 3);
  } catch (error) {
    console.error(`${step} ${contestant.name} failed: ${(error as Error).message}`);
    leftOut[contestant.name] = `failed, ${(error as Error).message}`;
  }
  return runs.sort((a, b) => a.foreignProcessors - b.foreignProcessors)[0];
}

function disturbed({ foreignProcessors }: Run): boolean {
  return foreignProcessors > foreignLimit;
}

function report(): string {
  const { processors, runtimes, loadBefore } = machine;
  return [
    `${processors}; ${runtimes.join(", ")}; MariaDB ${machine.server}; load ${loadBefore.toFixed(2)} before; ${rounds} rounds`,
    rules,
    ...results.map(({ work, runs }) => {
      const memory = work.id === "f" ? `\n\n${memoryTable(runs)}` : "";
      return `\n(${work.id}) ${work.title}\n\n${workTable(work, runs)}${memory}`;
    }),
    ...(ratios.length > 0 ? [`\nratios\n\n${ratioTable(ratios)}`] : []),
    disturbance(),
    ...Object.entries(leftOut).map(([name, why]) => `left out: ${name}: ${why}`),
  ].join("\n");
}

/** Returns the line that says how many runs were disturbed. */
function disturbance(): string {
  const all = results.flatMap(({ runs }) => [...runs.values()].flat()).filter((each) => each !== undefined);
  const most = Math.max(0, ...all.map(({ foreignProcessors }) => foreignProcessors)).toFixed(2);
  const share = `${all.filter(disturbed).length} of ${all.length} runs`;
  return `\nin ${share}, something else kept over ${foreignLimit} processors busy (most: ${most})`;
}

function document(): object {
  const measured = results.map(({ work: { id, title }, runs }) => ({
    id,
    title,
    contestants: [...runs].map(([name, each]) => ({ name, runs: each })),
  }));
  return { machine, works: measured, ratios, leftOut };
}

/** Draws rates as multiples of mysql2's in one thread, on one version of Node: a panel for each work and each way of measuring. */
function draw(ids: readonly string[], ways: readonly string[]): string {
  const panels = ids.flatMap((id) => {
    const { work, runs } = results.find((result) => result.work.id === id) ?? {};
    return ways.map((way) => {
      const bars = [...(runs ?? [])].flatMap(([name, each]) => {
        if (native && name.endsWith(native.name)) return []; // the chart shows one version of Node only
        const middle = spread(each.map((run) => run && figures.rate[way]!(run)));
        return middle ? [{ name: name.replace(/, Node .*/, ""), value: middle.median }] : [];
      });
      const one =
        bars.find(({ name }) => name.startsWith(loopName)) ?? bars.find(({ name }) => name.startsWith("mysql2"));
      const ratios = bars.map(({ name, value }) => ({ name, value: value / (one?.value ?? 1) }));
      const title = `${work?.title}: ${way}, ${one?.name} = 1`;
      return { title, bars: ratios.sort((a, b) => b.value - a.value) };
    });
  });
  return chart(
    panels,
    "myscript",
    `${machine.processors}, ${here.name}, MariaDB ${machine.server} on the same machine`,
  );
}

function abort(): void {
  killRunning();
  process.exit(130);
}

function readArguments() {
  try {
    const { values: options, positionals: ids } = parseArgs({
      allowPositionals: true,
      options: {
        rounds: { type: "string" },
        scale: { type: "string" },
        only: { type: "string", default: "" },
        quick: { type: "boolean", default: false },
        start: { type: "boolean", default: false },
        threads: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        svg: { type: "string" },
      },
    });
    const stranger = ids.find((id) => works.every((work) => work.id !== id));
    if (stranger !== undefined) throw new RangeError(`Cannot measure "${stranger}": the works are a to i`);
    const { quick, rounds = quick ? "3" : "5", scale = quick ? "0.6" : "1" } = options;
    return {
      options,
      rounds: positive("rounds", rounds),
      scale: positive("scale", scale),
      selected: works.filter(({ id }) => (ids.length === 0 ? !quick || id === "a" : ids.includes(id))),
    };
  } catch (error) {
    console.error(`bench: ${(error as Error).message} (${usage})`);
    process.exit(2);
  }
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (value > 0) return value;
  throw new RangeError(`Cannot take "${text}" for --${name}: it must be a positive number`);
}
