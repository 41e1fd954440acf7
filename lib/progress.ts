/** The bar: on a terminal one line that is redrawn, elsewhere a plain line every few seconds. */
import cliProgress from "cli-progress";
import { describeUnit } from "./queue.ts";

/** What the bar shows. */
export interface Snapshot {
  ended: number;
  failed: number;
  /** Unknown until a stream of queries has come to its end. */
  total: number | undefined;
  /** Why queries are held back just now. */
  held?: string | undefined;
  /** What every worker is doing. */
  inFlight: () => InFlight[];
}

/** A query that a worker is running, or waiting to run again. */
export interface InFlight {
  worker: number;
  thread: number;
  seq: number;
  /** Since it was claimed. */
  seconds: number;
  tries: number;
  unit: unknown;
}

export interface Progress {
  update(snapshot: Snapshot): void;
  /** Prints a line above the bar, without the control characters it may have. */
  log(line: string): void;
  /** Draws the last state and leaves the line. */
  /** Prints what every worker is doing. */
  report(): void;
  stop(): void;
}

const plainLineSeconds = 5;
const rateSeconds = 5;

/** Makes a bar on `stream`; nothing is drawn before the first update, and no bar when `quiet`. */
export function createProgress(stream: NodeJS.WriteStream = process.stderr, quiet = false): Progress {
  const start = performance.now();
  const samples: { seconds: number; ended: number }[] = [{ seconds: 0, ended: 0 }];
  let latest: Snapshot | undefined;
  let line = "";
  let lastPlain = 0;
  let bar: cliProgress.SingleBar | undefined;

  return {
    update(snapshot) {
      latest = snapshot;
      if (quiet) return;
      const seconds = (performance.now() - start) / 1000;
      line = describe(snapshot, rate(samples, seconds, snapshot.ended), seconds);
      if (!stream.isTTY) {
        if (seconds - lastPlain < plainLineSeconds) return;
        lastPlain = seconds;
        stream.write(`${line}\n`);
        return;
      }
      bar ??= startBar(stream, () => line);
      bar.setTotal(snapshot.total ?? 0);
      bar.update(snapshot.ended);
    },
    log,
    report() {
      const all = latest?.inFlight() ?? [];
      if (all.length === 0) log("no query is in flight");
      for (const { worker, thread, seq, seconds, tries, unit } of all) {
        const since = `${seconds.toFixed(1)} s${tries > 1 ? `, try ${tries}` : ""}`;
        log(`worker ${worker}, thread ${thread}: query ${seq}, ${since}: ${describeUnit(unit, 80)}`);
      }
    },
    stop() {
      // cli-progress goes back to the position that it saved at its start; lines may have moved, and Ctrl-C echoes "^C".
      if (bar) stream.write("\x1b7");
      bar?.stop();
      bar = undefined;
      if (lastPlain > 0) stream.write(`${line}\n`);
    },
  };

  function log(text: string): void {
    if (!bar) return void stream.write(`${printable(text)}\n`);
    stream.write(`\r\x1b[K${printable(text)}\n`);
    bar.render();
  }
}

/** Text of any origin without what a terminal would obey: control and formatting characters become `�`. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}|\p{Cf}/gu, "\uFFFD");
}

/** Queries per second over the last few seconds. */
function rate(samples: { seconds: number; ended: number }[], seconds: number, ended: number): number {
  samples.push({ seconds, ended });
  while (samples.length > 2 && seconds - samples[1]!.seconds >= rateSeconds) samples.shift();
  const first = samples[0]!;
  return seconds > first.seconds ? (ended - first.ended) / (seconds - first.seconds) : 0;
}

function describe({ ended, failed, total, held }: Snapshot, perSecond: number, seconds: number): string {
  const count = (value: number) => Math.round(value).toLocaleString("en-US");
  const parts = [total === undefined ? count(ended) : `${count(ended)}/${count(total)}`, `${count(perSecond)}/s`];
  if (total === undefined) parts.push(duration(seconds));
  else if (ended < total && perSecond > 0) parts.push(`${duration((total - ended) / perSecond)} left`);
  if (failed > 0) parts.push(`${count(failed)} failed`);
  if (held !== undefined) parts.push(held);
  return parts.join("  ");
}

function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const minutes = `${Math.floor(whole / 60) % 60}:${two(whole % 60)}`;
  return whole < 3600 ? minutes : `${Math.floor(whole / 3600)}:${minutes.padStart(5, "0")}`;
}

function startBar(stream: NodeJS.WriteStream, line: () => string): cliProgress.SingleBar {
  const bar = new cliProgress.SingleBar(
    {
      stream,
      format: (options, params) => {
        const columns = (stream.columns || 80) - 2; // room for the "^C" that a terminal writes behind it
        if (params.total === 0) return line().slice(0, columns - 1);
        const percent = `${String(Math.floor(params.progress * 100)).padStart(3)} %`;
        const room = Math.min(40, columns - percent.length - line().length - 4);
        if (room < 5) return `${percent}  ${line()}`.slice(0, columns - 1);
        return `${percent} ${cliProgress.Format.BarFormat(params.progress, { ...options, barsize: room })}  ${line()}`;
      },
      barCompleteChar: "█",
      barIncompleteChar: "░",
      fps: 10,
      linewrap: true, // that is: do not change the terminal, which a process that is killed would leave changed
      gracefulExit: false, // it would end the process without a summary
      emptyOnZero: true,
      forceRedraw: true, // also when a line was printed above it
    },
    cliProgress.Presets.shades_classic,
  );
  bar.start(0, 0);
  return bar;
}
