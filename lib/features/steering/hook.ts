/** Connects the terminal's keys and the control socket with a run. */
import type { Context, Hook } from "../../command/feature.ts";
import { obey, Steering } from "./steering.ts";

interface SteeringFlags {
  readonly control?: string | undefined;
  readonly workers: number;
  readonly maxWorkers?: number | undefined;
}

/** @throws UsageError if it cannot listen on the socket `control`. */
export async function steer(
  { control, workers, maxWorkers = workers }: SteeringFlags,
  context: Context,
): Promise<Hook> {
  const { io, progress, hooks, drain, hasKeys } = context;
  const closers: (() => void)[] = [];
  const steering = new Steering({
    ...{ workers, maxWorkers, progress, drain },
    dials: () => hooks.flatMap(({ dials }) => dials ?? []),
    onChange(change) {
      progress.log(`changed: ${change}`);
      for (const hook of hooks) hook.note?.(change);
    },
  });
  if (control !== undefined) {
    const { openControl } = await import("./control.ts");
    closers.push(await openControl(control, (line) => obey(steering, line)));
  }
  if (hasKeys) {
    const { watchKeys } = await import("./keys.ts");
    const interrupt = () => drain.signal.aborted || process.kill(process.pid, "SIGINT");
    // Takes keys only when the run begins, because a script may ask the user something before.
    steering.onBegin = () => {
      steering.onBegin = () => {};
      closers.push(watchKeys(io, steering, interrupt));
    };
  }
  return {
    options: { gates: [steering], progress: steering.progress, maxWorkers },
    close() {
      for (const close of closers) close();
    },
  };
}
