/** The bar: one line that is redrawn on a terminal. */
import { createRequire } from "node:module";
import type cliProgress from "cli-progress";
import { type Figures, percent, type Snapshot } from "./figures.ts";
import { count } from "./text.ts";

const require = createRequire(import.meta.url);

/** A way to show the figures and the lines of a run. */
export interface Display {
  draw(snapshot: Snapshot): void;
  print(line: string): void;
  stop(): void;
}

export function barOn(stream: NodeJS.WriteStream, figures: Figures): Display {
  let bar: cliProgress.SingleBar | undefined;
  return {
    draw({ ended, total = 0 }) {
      bar ??= startBar(stream, ended, total, figures);
      bar.setTotal(total);
      bar.update(ended);
    },
    print(line) {
      // Without a bar, erases keys that the terminal has echoed. It does so until the terminal is in raw mode.
      if (!bar) return void stream.write(`${figures.isOver ? "" : "\r\x1b[K"}${line}\n`);
      stream.write(`\r\x1b[J${line}\n`);
      bar.render();
    },
    stop() {
      // Saves the cursor's position. Otherwise cli-progress goes back to that of its start, and lines have moved since.
      if (bar) stream.write("\x1b7");
      bar?.stop();
      bar = undefined;
    },
  };
}

function startBar(stream: NodeJS.WriteStream, ended: number, total: number, figures: Figures): cliProgress.SingleBar {
  const { SingleBar, Presets }: typeof cliProgress = require("cli-progress"); // only a terminal needs it
  const bar = new SingleBar(
    {
      stream,
      format: (_, params) => {
        const columns = (stream.columns || 80) - 1;
        return draw(columns, params.value, params.total, figures.texts()).slice(0, columns);
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
  bar.start(total, ended);
  return bar;
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
