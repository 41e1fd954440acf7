/** Ctrl-C and its relatives. */
import type { Progress } from "../parent/progress.ts";

/** `npm start` passes on the Ctrl-C that the terminal has sent to all processes: it comes twice, and means one. */
const onceMs = 200;

/**
 * The first SIGINT or SIGTERM drains, the second interrupts what is in flight; SIGUSR2 shows what is in flight. A dry run has
 * nothing in flight, and ends at once.
 *
 * A terminal that is closed sends SIGHUP, perhaps twice: it drains. Under nohup, too, as Node does not leave it ignored.
 */
export function watchSignals(progress: Progress, dryRun: boolean) {
  const drain = new AbortController();
  const kill = new AbortController();
  let status = 0;
  let firstAt = 0;
  for (const [signal, exitStatus] of [
    ["SIGHUP", 129],
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    if (dryRun) continue;
    process.on(signal, () => {
      const isFirst = status === 0;
      if (isFirst) firstAt = performance.now();
      else if (signal === "SIGHUP" || kill.signal.aborted || performance.now() - firstAt < onceMs) return;
      (isFirst ? drain : kill).abort();
      const what = isFirst
        ? "waiting for what is in flight; once more interrupts it"
        : "interrupting what is in flight";
      progress.log(`${signal}: ${what}`);
      status ||= exitStatus;
    });
  }
  process.on("SIGUSR2", progress.report);
  return { drain, kill, status: () => status };
}
