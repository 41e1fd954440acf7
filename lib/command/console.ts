/** What a script prints by `console.log()` and its kind, in `main()` and in its workers: not into the bar, nor between data. */
import { Console } from "node:console";
import { Writable } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import type { Progress } from "../parent/progress.ts";
import type { Hook, Io } from "./feature.ts";
import type { Output } from "./output.ts";

const original = globalThis.console;

/**
 * Takes `console` over until the hook is closed. On a terminal, each line is printed above the bar. Elsewhere all is printed
 * as it is; what is for stdout goes to stderr when stdout is for data alone.
 */
export function takeConsole({ stdout, stderr }: Io, isData: boolean, progress: Progress, output: Output): Hook {
  const toStderr = stderr.isTTY ? lines : (text: string) => stderr.write(text);
  const toStdout = stdout.isTTY && stderr.isTTY ? lines : (text: string) => output.write(text);
  globalThis.console = new Console(writer(isData ? toStderr : toStdout), writer(toStderr));
  return {
    close() {
      globalThis.console = original;
    },
  };

  function lines(text: string): void {
    for (const line of text.replace(/\n$/, "").split("\n")) {
      progress.log(stripVTControlCharacters(line).replaceAll("\t", "    "));
    }
  }
}

/** Each connection of a run would say so. */
const saidOnce = /^Ignoring invalid configuration option passed to Connection/;

function writer(print: (text: string) => unknown): Writable {
  const said = new Set<string>();
  return new Writable({
    decodeStrings: false,
    write(text: string, _, done) {
      if (!said.has(text)) print(text);
      if (saidOnce.test(text)) said.add(text);
      done();
    },
  });
}
