/** Ctrl-C and its relatives. */
import type { Progress } from "../parent/progress.ts";
import type { Hook, Io } from "./feature.ts";
import type { Output } from "./output.ts";

/** `npm start` passes on the Ctrl-C that the terminal has sent to all processes: it comes twice, and means one. */
const onceMs = 200;

const statuses = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** What interrupts a run. */
export interface Interruption extends Hook {
  /** Ends the run when what is in flight has ended; also for other reasons than a signal. */
  readonly drain: AbortController;
  /** The exit status of the first signal that came, else 0. */
  status(): number;
}

/**
 * The first SIGINT or SIGTERM drains, the second interrupts what is in flight; SIGUSR2 shows what is in flight. A dry run has
 * nothing in flight, and ends at once.
 *
 * A terminal that is closed sends SIGHUP, perhaps twice: it drains. Under nohup, too, as Node does not leave it ignored.
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
