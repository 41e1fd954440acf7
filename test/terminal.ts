/** Runs myscript.ts on a terminal, and shows what a person sees on it. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import xterm from "@xterm/headless";
import { poll, type Running, type RunOptions, start, viaNode } from "./run.ts";

/** `script` of Linux makes the terminal. */
export const noTerminal = process.platform !== "linux" && "no script -c";

/** The screen of a terminal, with what has scrolled off above it. */
export class Screen {
  readonly #terminal: xterm.Terminal;

  constructor(columns: number, rows = 24) {
    this.#terminal = new xterm.Terminal({ cols: columns, rows, scrollback: 10_000, allowProposedApi: true });
  }

  /** Shows what was printed. */
  async show(printed: string): Promise<void> {
    await new Promise<void>((resolve) => this.#terminal.write(printed, resolve));
  }

  resize(columns: number): void {
    this.#terminal.resize(columns, this.#terminal.rows);
  }

  /** Its rows, down to the last one that is not empty. */
  get rows(): string[] {
    const { active } = this.#terminal.buffer;
    const rows = Array.from({ length: active.length }, (_, y) => active.getLine(y)!.translateToString(true));
    return rows.slice(0, rows.findLastIndex((row) => row !== "") + 1);
  }

  /** The same, with a line that goes on in further rows in one piece. */
  get lines(): string[] {
    const { active } = this.#terminal.buffer;
    const lines: string[] = [];
    for (const [y, row] of this.rows.entries()) {
      if (active.getLine(y)!.isWrapped) lines.push(lines.pop()! + row);
      else lines.push(row);
    }
    return lines;
  }
}

/** Each drawing of the bar ends so. */
export const frameEnd = /(?<=\x1b\[J\r)/;

/** What a person sees after each drawing of the bar, and in the end. */
export async function* moments(printed: string, columns: number): AsyncGenerator<Screen> {
  const screen = new Screen(columns);
  for (const frame of printed.split(frameEnd)) {
    await screen.show(frame);
    yield screen;
  }
}

export interface OnTerminal extends Running {
  /** The process that has the terminal. */
  readonly pid: Promise<number>;
  /** Gives the terminal another width, as a person does who drags its border. */
  resize(columns: number): Promise<void>;
}

/** Runs it on a terminal of so many columns. Both of its outputs are the terminal: `printed.stdout`. */
export function startOnTerminal(
  args: readonly string[],
  columns: number,
  { command = viaNode, env, ...options }: RunOptions = {},
): OnTerminal {
  const words = [...command, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
  const running = start([`stty cols ${columns} rows 24; exec ${words}`, "/dev/null"], {
    input: null, // what is typed
    ...options,
    command: ["script", "-qec"],
    env: { TERM: "xterm-256color", CI: "", ...env },
  });
  const pid = (async () => {
    const { pid: parent } = running.child;
    const children = () => readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8").trim();
    await poll(() => children() !== "");
    return Number(children());
  })();
  return {
    ...running,
    pid,
    async resize(wanted) {
      execFileSync("stty", ["-F", `/proc/${await pid}/fd/2`, "cols", `${wanted}`]);
    },
  };
}
