/** Shows the progress of a run: a bar on a terminal, elsewhere a plain line every few seconds. */
import { describeUnit } from "../shared/query.ts";
import { barOn, type Display } from "./bar.ts";
import { Figures, percent, type Snapshot } from "./figures.ts";
import { printable, wrapped } from "./text.ts";

export interface Progress {
  update(snapshot: Snapshot): void;
  /** Prints a line above the bar, without its control characters. `isDim` dims it on a terminal. */
  log(line: string, isDim?: boolean): void;
  /** Prints the query of each busy worker. */
  report(): void;
  /** Draws the last state and ends the line. */
  stop(): void;
}

/** Shows the progress of a run on `stream`. Shows nothing before the first update, and only lines if `quiet`. */
export function createProgress(stream: NodeJS.WriteStream = process.stderr, quiet = false): Progress {
  // A dumb terminal cannot redraw a line, and the terminal of a CI service is a log file.
  const redraws = stream.isTTY && process.env.TERM !== "dumb" && !process.env.CI;
  const figures = new Figures();
  const display = quiet ? onlyLines(stream) : redraws ? barOn(stream, figures) : plainLines(stream, figures);
  const log = (text: string, isDim = false): void => {
    const line = printable(text);
    display.print(isDim && redraws ? `\x1b[2m${wrapped(line, stream.columns)}\x1b[22m` : line);
  };
  return {
    update(snapshot) {
      if (figures.take(snapshot)) display.draw(snapshot);
    },
    log,
    report() {
      const { noun = "query", inFlight } = figures.latest ?? {};
      const all = inFlight?.() ?? [];
      if (all.length === 0) log(`no ${noun} is in flight`);
      for (const { worker, thread, seq, seconds, tries, unit } of all) {
        const since = `${seconds.toFixed(1)} s${tries > 1 ? `, try ${tries}` : ""}`;
        log(`worker ${worker}, thread ${thread + 1}: ${noun} ${seq}, ${since}: ${describeUnit(unit, 80)}`);
      }
    },
    stop() {
      figures.isOver = true;
      display.stop();
    },
  };
}

function onlyLines(stream: NodeJS.WriteStream): Display {
  return { draw() {}, print: (line) => void stream.write(`${line}\n`), stop() {} };
}

/** Writes a line every few seconds, and one at the end if there was one before. */
function plainLines(stream: NodeJS.WriteStream, figures: Figures): Display {
  let drawnAt = 0;
  return {
    ...onlyLines(stream),
    draw({ ended, total }) {
      const { seconds } = figures;
      if (ended === total || seconds - drawnAt < plainSeconds(seconds)) return;
      drawnAt = seconds;
      write();
    },
    stop() {
      if (drawnAt > 0) write();
    },
  };

  function write(): void {
    const { ended, total } = figures.latest!;
    const parts = total ? [`${percent(ended, total)} %`, ...figures.texts()] : figures.texts();
    stream.write(`${parts.join("  ")}\n`);
  }
}

/** Returns the seconds between two plain lines. They grow to one minute. */
function plainSeconds(seconds: number): number {
  return Math.min(Math.max(5, seconds / 10), 60);
}
