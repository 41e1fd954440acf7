/** Runs myscript.ts on a terminal, and returns the screen as a person sees it. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import xterm from "@xterm/headless";
import { poll, type Running, type RunOptions, start, viaNode } from "./run.ts";

/** The reason to skip a test that needs a terminal, or false. The terminal is made by `script` of Linux. */
export const noTerminal = process.platform !== "linux" && "no script -c";

/** The screen of a terminal emulator, with its scrollback. */
export class Screen {
  readonly #terminal: xterm.Terminal;

  constructor(columns: number, rows = 24) {
    this.#terminal = new xterm.Terminal({ cols: columns, rows, scrollback: 10_000, allowProposedApi: true });
  }

  /** Feeds output to the terminal. */
  async show(printed: string): Promise<void> {
    await new Promise<void>((resolve) => this.#terminal.write(printed, resolve));
  }

  resize(columns: number): void {
    this.#terminal.resize(columns, this.#terminal.rows);
  }

  /** The rows of the scrollback and the screen, down to the last one that is not empty. */
  get rows(): string[] {
    const { active } = this.#terminal.buffer;
    const rows = Array.from({ length: active.length }, (_, y) => active.getLine(y)!.translateToString(true));
    return rows.slice(0, rows.findLastIndex((row) => row !== "") + 1);
  }

  /** The same, with each wrapped line joined again. */
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

/** The position after each drawing of the bar. */
export const frameEnd = /(?<=\x1b\[J\r)/;

/** Yields the screen after each drawing of the bar, and at the end. It is one screen, which the next step changes. */
export async function* moments(printed: string, columns: number): AsyncGenerator<Screen> {
  const screen = new Screen(columns);
  for (const frame of printed.split(frameEnd)) {
    await screen.show(frame);
    yield screen;
  }
}

export interface OnTerminal extends Running {
  /** The pid of the process on the terminal. */
  readonly pid: Promise<number>;
  /** Changes the terminal's width. The process gets SIGWINCH. */
  resize(columns: number): Promise<void>;
}

/** Starts a command on a terminal. Its stdout and stderr are both the terminal, and both are in `printed.stdout`. */
export function startOnTerminal(
  args: readonly string[],
  columns: number,
  { command = viaNode, env, ...options }: RunOptions = {},
): OnTerminal {
  const words = [...command, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
  const running = start([`stty cols ${columns} rows 24; exec ${words}`, "/dev/null"], {
    input: null, // open, because the test types into it
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
