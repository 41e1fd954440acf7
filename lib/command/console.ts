/** Redirects `console` of a script's `main()` and workers, so that it breaks neither the bar nor the data on stdout. */
import { Console } from "node:console";
import { Writable } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import type { Progress } from "../parent/progress.ts";
import type { Hook, Io } from "./feature.ts";
import type { Output } from "./output.ts";

const original = globalThis.console;

/**
 * Replaces `console` until the hook is closed. On a terminal, prints each line above the bar. Otherwise prints the text as it
 * is.
 *
 * @param isData true if stdout is for data alone. Text for stdout then goes to stderr.
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

/** Message that is printed once only, because every connection would print it. */
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
