/** Handles Ctrl-C and other signals. */
import type { Progress } from "../parent/progress.ts";
import type { Hook, Io } from "./feature.ts";
import type { Output } from "./output.ts";

/**
 * Time in ms in which a second signal is ignored. Under `npm start` each Ctrl-C comes twice: from the terminal, and from npm.
 */
const onceMs = 200;

const statuses = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Hook that interrupts a run. */
export interface Interruption extends Hook {
  /** Abort it to end the run after the queries in flight, also for other reasons than a signal. */
  readonly drain: AbortController;
  /** Returns the exit status of the first signal, or 0 if none came. */
  status(): number;
}

/**
 * Listens to signals. The first SIGINT or SIGTERM drains the run, the second interrupts the queries in flight. SIGUSR2 prints
 * the queries in flight. A dry run has none in flight, so signals end it at once.
 *
 * A terminal that is closed sends SIGHUP, perhaps twice: it drains the run. It does so under nohup, too, because Node does not
 * leave the signal ignored.
 */
export function watchSignals(io: Io, progress: Progress, output: Output, isDryRun: boolean): Interruption {
  const drain = new AbortController();
  const kill = new AbortController();
  let status = 0;
  let firstAt = 0;
  const listeners: [NodeJS.Signals, () => void][] = [["SIGUSR2", progress.report]];
  if (!isDryRun)
    for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"] as const) listeners.push([signal, () => take(signal)]);
  for (const [signal, listener] of listeners) io.on(signal, listener);
  return {
    drain,
    options: { signal: drain.signal, killSignal: kill.signal },
    status: () => status,
    close() {
      for (const [signal, listener] of listeners) io.off(signal, listener);
    },
  };

  function take(signal: keyof typeof statuses): void {
    const isFirst = status === 0;
    if (isFirst) firstAt = performance.now();
    else if (signal === "SIGHUP" || kill.signal.aborted || performance.now() - firstAt < onceMs) return;
    status ||= statuses[signal];
    (isFirst ? drain : kill).abort();
    if (!isFirst) output.abandon();
    const what = isFirst ? "waiting for what is in flight; once more interrupts it" : "interrupting what is in flight";
    progress.log(`${signal}: ${what}`);
  }
}
