/** The bar: one line that is redrawn on a terminal, elsewhere a plain line every few seconds. */
import { createRequire } from "node:module";
import type cliProgress from "cli-progress";
import type { Result } from "../shared/counters.ts";
import { describeUnit } from "../shared/query.ts";
import { Pace } from "./pace.ts";

const require = createRequire(import.meta.url);

/** State of the run that the bar shows. */
export interface Snapshot {
  ended: number;
  /** Number of these that an earlier run has ended. */
  earlier: number;
  failed: number;
  unknown: number;
  /** Undefined until a stream of queries has ended. An estimate if `isAbout`. */
  total: number | undefined;
  isAbout?: boolean;
  /** Word for what is counted. @default "query" */
  noun?: "query" | "unit";
  /** Reason why no time left is shown: queries are held back, or no further ones start. */
  held?: string | undefined;
  /** Text about waiting for a server: the number of workers, the time and the reason. */
  waiting?: string | undefined;
  /** Returns the durations of ended queries. */
  latencyMs: () => Result["latencyMs"];
  /** Returns the query of each busy worker. */
  inFlight: () => InFlight[];
}

/** A query that a worker is running, or waiting to run again. */
export interface InFlight {
  worker: number;
  thread: number;
  seq: number;
  /** Time since the claim. */
  seconds: number;
  tries: number;
  unit: unknown;
}

export interface Progress {
  update(snapshot: Snapshot): void;
  /** Prints a line above the bar, without its control characters. `isDim` dims it on a terminal. */
  log(line: string, isDim?: boolean): void;
  /** Prints the query of each busy worker. */
  report(): void;
  /** Draws the last state and ends the line. */
  stop(): void;
}

/** Time in ms after which a stream without a query is shown. */
const awaitedMs = 1000;

/** Makes a bar on `stream`. It draws nothing before the first update, and no bar at all if `quiet`. */
export function createProgress(stream: NodeJS.WriteStream = process.stderr, quiet = false): Progress {
  // A dumb terminal cannot redraw a line, and the terminal of a CI service is a log file.
  const redraws = stream.isTTY && process.env.TERM !== "dumb" && !process.env.CI;
  let start: number | undefined;
  let awaitedAt: number | undefined;
  const now = () => (performance.now() - (start ?? performance.now())) / 1000;
  const pace = new Pace();
  let latest: Snapshot | undefined;
  let plainAt = 0;
  let bar: cliProgress.SingleBar | undefined;
  let stopped = false;

  return {
    update(snapshot) {
      latest = snapshot;
      if (quiet) return;
      const { ended, earlier, total, inFlight } = snapshot;
      // A stream has nothing to show while the workers start. A short stream soon has its total. A stream that is slow to yield
      // its first query is shown after `awaitedMs`.
      awaitedAt ??= performance.now();
      const isAwaited = total === undefined && ended - earlier + inFlight().length === 0;
      if (start === undefined && isAwaited && performance.now() - awaitedAt < awaitedMs) return;
      start ??= performance.now();
      pace.look(now(), () => ({
        ended: ended - earlier,
        left: total === undefined ? undefined : total - ended,
        inFlight: inFlight().length,
      }));
      if (redraws) {
        bar ??= startBar(stream, snapshot, () => figures(latest!));
        bar.setTotal(total ?? 0);
        bar.update(ended);
      } else if (ended !== total && now() - plainAt >= plainSeconds(now())) {
        plainAt = now();
        writePlain(snapshot);
      }
    },
    log,
    report() {
      const all = latest?.inFlight() ?? [];
      const noun = latest?.noun ?? "query";
      if (all.length === 0) log(`no ${noun} is in flight`);
      for (const { worker, thread, seq, seconds, tries, unit } of all) {
        const since = `${seconds.toFixed(1)} s${tries > 1 ? `, try ${tries}` : ""}`;
        log(`worker ${worker}, thread ${thread + 1}: ${noun} ${seq}, ${since}: ${describeUnit(unit, 80)}`);
      }
    },
    stop() {
      stopped = true;
      // Saves the cursor's position. Otherwise cli-progress goes back to that of its start, and lines have moved since.
      if (bar) stream.write("\x1b7");
      bar?.stop();
      bar = undefined;
      if (latest && plainAt > 0) writePlain(latest);
    },
  };

  function log(text: string, isDim = false): void {
    const line = isDim && redraws ? `\x1b[2m${wrapped(printable(text), stream.columns)}\x1b[22m` : printable(text);
    // Erases keys that the terminal has echoed. It does so until the terminal is in raw mode.
    if (!bar) return void stream.write(`${redraws && !quiet && !stopped ? "\r\x1b[K" : ""}${line}\n`);
    stream.write(`\r\x1b[J${line}\n`);
    bar.render();
  }

  function writePlain(snapshot: Snapshot): void {
    const { ended, total } = snapshot;
    const parts = total ? [`${percent(ended, total)} %`, ...figures(snapshot)] : figures(snapshot);
    stream.write(`${parts.join("  ")}\n`);
  }

  /** Returns the texts beside the bar. At the end they have no rate, because the summary has that of the whole run. */
  function figures({ ended, earlier, failed, unknown, total, isAbout, held, waiting }: Snapshot): string[] {
    const secondsLeft = held === undefined && ended !== total ? pace.secondsLeft(now()) : undefined;
    const all = total === undefined ? undefined : count(total);
    return [
      all === undefined ? count(ended) : `${count(ended).padStart(all.length)}/${isAbout ? "~" : ""}${all}`,
      !stopped && pace.perSecond !== undefined && rate(pace.perSecond),
      earlier > 0 && `${count(earlier)} earlier`,
      !stopped && total === undefined && clock(now()),
      !stopped && secondsLeft !== undefined && `${about(secondsLeft)} left`,
      failed > 0 && `${count(failed)} failed`,
      unknown > 0 && `${count(unknown)} unknown`,
      ...(stopped ? [] : [held, waiting].map((reason) => reason !== undefined && printable(reason))),
    ].filter((part) => typeof part === "string");
  }
}

/**
 * Makes text of any origin safe for a terminal, on one line. Control and format characters become `�`, line ends and tabs become
 * blanks. The joiners U+200C and U+200D stay, because emoji and several scripts are written with them.
 */
export function printable(text: string): string {
  return text.replace(/[\r\n\t]+/g, " ").replace(/(?![\u200C\u200D])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "\uFFFD");
}

/** Breaks a text between words. */
function wrapped(text: string, columns = 80): string {
  return text.replace(new RegExp(`(?=.{${columns}})(.{0,${columns - 1}}) `, "g"), "$1\n");
}

/** Formats a number with commas. `toLocaleString()` would load all of ICU, which takes some 25 ms. */
export function count(value: number): string {
  return String(value).replace(/(?<!\.\d*)\B(?=(?:\d{3})+(?!\d))/g, ",");
}

/** Rounds down. 100 is shown only when all queries have ended. */
function percent(ended: number, total: number): string {
  return String(Math.floor((ended * 100) / total)).padStart(3);
}

/** Formats a rate with two or three digits. Further digits change too often to be read. */
function rate(perSecond: number): string {
  const [value, unit] =
    perSecond >= 1 ? [perSecond, "s"] : perSecond * 60 >= 1 ? [perSecond * 60, "min"] : [perSecond * 3600, "h"];
  return `${count(Number(value.toPrecision(value < 100 ? 2 : 3)))}/${unit}`;
}

function clock(seconds: number): string {
  const two = (value: number) => String(Math.floor(value) % 60).padStart(2, "0");
  const minutes = `${two(seconds / 60)}:${two(seconds)}`;
  return seconds < 3600 ? minutes.replace(/^0/, "") : `${Math.floor(seconds / 3600)}:${minutes}`;
}

/** Formats a time left. The longer it is, the coarser. */
function about(seconds: number): string {
  const steps = (size: number) => Math.ceil(seconds / size) * size;
  if (seconds <= 20) return `${steps(1)} s`;
  if (seconds <= 120) return `${steps(10)} s`;
  if (seconds <= 3600) return `${steps(60) / 60} min`;
  if (seconds <= 10 * 3600) {
    const minutes = steps(600) / 60;
    return `${Math.floor(minutes / 60)} h${minutes % 60 > 0 ? ` ${minutes % 60} min` : ""}`;
  }
  if (seconds <= 48 * 3600) return `${steps(3600) / 3600} h`;
  return `${steps(86400) / 86400} days`;
}

/** Returns the seconds between two plain lines. They grow to one minute. */
function plainSeconds(seconds: number): number {
  return Math.min(Math.max(5, seconds / 10), 60);
}

/** Returns the line, at most `columns` wide. The bar keeps its length during a run, so that it only moves forward. */
function draw(columns: number, ended: number, total: number, figures: readonly string[]): string {
  if (total === 0) return fit(figures, columns);
  const head = `${percent(ended, total)} %`;
  const roomBeside = 2 * count(total).length + 36; // for a rate, a time and a failure
  const size = Math.max(10, Math.min(40, columns - head.length - roomBeside));
  const room = columns - head.length - size - 3;
  const beside = fit(figures, room);
  if (columns < 50 || beside.length > room) return `${head}  ${fit(figures, columns - head.length - 2)}`;
  const full = Math.floor((ended * size) / total);
  return `${head} ${"█".repeat(full)}${"░".repeat(size - full)}  ${beside}`;
}

/** Drops the second figure while the line is too long. The first and the last are the most important. */
function fit(figures: readonly string[], columns: number): string {
  const line = figures.join("  ");
  return line.length <= columns || figures.length <= 2 ? line : fit(figures.toSpliced(1, 1), columns);
}

function startBar(
  stream: NodeJS.WriteStream,
  { ended, total }: Snapshot,
  figures: () => string[],
): cliProgress.SingleBar {
  const { SingleBar, Presets }: typeof cliProgress = require("cli-progress"); // only a terminal needs it
  const bar = new SingleBar(
    {
      stream,
      format: (_, params) => {
        const columns = (stream.columns || 80) - 1;
        return draw(columns, params.value, params.total, figures()).slice(0, columns);
      },
      fps: 10,
      linewrap: true, // keeps cli-progress from changing terminal modes, which a killed process would leave changed
      gracefulExit: false, // it would end the process without a summary
      emptyOnZero: true,
      forceRedraw: true, // also when a line was printed above it
    },
    Presets.shades_classic,
  );
  // Writes all at once, with line wrap off. In a terminal that has just become narrower, the line is cut off. The cursor waits
  // at the start of the line, which stays in place if the terminal wraps the line itself.
  bar.on("redraw-pre", () => {
    stream.cork();
    stream.write("\x1b[?7l");
  });
  bar.on("redraw-post", () => {
    stream.write("\x1b[?7h\x1b[J\r");
    stream.uncork();
  });
  bar.start(total ?? 0, ended);
  return bar;
}
