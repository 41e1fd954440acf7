/**
 * Keys that steer a run on a terminal.
 *
 * `stty` sets the terminal to deliver each key at once and without echo, and to keep the signals of Ctrl-C and Ctrl-Z. Node's raw mode
 * would remove the signals. In the background this process must not touch the terminal. Otherwise the system stops it.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Io } from "../../command/feature.ts";
import { changeRate, type Steering, setPaused } from "./steering.ts";

const keysHint = "p pauses and goes on, + and - change the rate, ? shows the workers, q ends the run";
/** Time in ms after which the keys are shown. A shorter run needs no steering. */
const hintMs = 2000;
const quarter = 0.25;

/**
 * Takes keys from stdin, if this process is in the foreground of its terminal.
 *
 * @returns a function that stops it and restores the terminal.
 */
export function watchKeys(io: Io, steering: Steering, interrupt: () => void): () => void {
  const { stdin } = io;
  if (!isInForeground()) return () => {};
  const before = stty("-g");
  if (before === undefined) return () => {};
  let isOn = false;
  let pressed: Promise<unknown> = Promise.resolve();
  const hint = setTimeout(() => steering.progress.log(keysHint, true), hintMs).unref();
  const listeners = { SIGTSTP: suspend, SIGCONT: turnOn } as const;
  for (const [signal, listener] of Object.entries(listeners)) process.on(signal, listener);
  process.once("exit", turnOff);
  stdin.on("data", take);
  turnOn();
  return () => {
    clearTimeout(hint);
    turnOff();
    stdin.off("data", take);
    process.off("exit", turnOff);
    for (const [signal, listener] of Object.entries(listeners)) process.off(signal, listener);
  };

  function turnOn(): void {
    if (!isInForeground()) return void stdin.pause();
    isOn = stty("-icanon", "-echo", "min", "1", "time", "0") !== undefined;
    if (isOn) stdin.resume();
  }

  function turnOff(): void {
    stdin.pause();
    if (isOn && isInForeground()) stty(before!);
    isOn = false;
  }

  /** Handles Ctrl-Z: restores the terminal for the shell, then stops this process. */
  function suspend(): void {
    turnOff();
    process.kill(process.pid, "SIGSTOP");
  }

  /** Handles one key after the other. A rate that would be out of bounds stays as it is. */
  function take(typed: Buffer | string): void {
    for (const key of String(typed)) pressed = pressed.then(() => press(key)).catch(() => {});
  }

  function press(key: string): unknown {
    if (key === "p") setPaused(steering, !steering.isPaused);
    else if (key === "+") return changeRate(steering, 1 + quarter);
    else if (key === "-") return changeRate(steering, 1 - quarter);
    else if (key === "?") steering.progress.report();
    else if (key === "q") interrupt();
    return undefined;
  }
}

/** Runs `stty` and returns its output, undefined if it fails. */
function stty(...args: readonly string[]): string | undefined {
  try {
    return execFileSync("stty", args, { encoding: "utf8", stdio: [0, "pipe", "ignore"], timeout: 1000 }).trim();
  } catch {
    return undefined;
  }
}

/** Returns true if the process group of this process is the terminal's foreground group. */
function isInForeground(): boolean {
  try {
    if (process.platform === "linux") {
      const [, group, , , terminalGroup] = readFileSync("/proc/self/stat", "utf8")
        .replace(/^.*\) \S+ /s, "")
        .split(" ");
      return group === terminalGroup;
    }
    return execFileSync("ps", ["-o", "stat=", "-p", `${process.pid}`], { encoding: "utf8", timeout: 1000 }).includes(
      "+",
    );
  } catch {
    return false;
  }
}
