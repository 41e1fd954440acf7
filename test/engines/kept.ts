/** Programs that end with the tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { openSync } from "node:fs";

/** Kills the program when its stdin ends, which also happens when this process ends. */
const keeperScript = '"$@" </dev/null & read -r _; kill -9 $!; wait';

/**
 * Starts a program.
 *
 * @param log the file that gets what it prints.
 */
export function keep(command: readonly string[], log: string): ChildProcess {
  const file = openSync(log, "a");
  return spawn("/bin/sh", ["-c", keeperScript, "sh", ...command], {
    stdio: ["pipe", file, file],
    detached: true, // Ctrl-C must not reach it
  });
}

/** Ends it at once, as a power cut of its machine would. */
export async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once("close", resolve));
  child.stdin!.end();
  await ended;
}
