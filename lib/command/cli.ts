/** What makes myscript.ts a good command: where it runs, what it prints, how it ends. */
import type { ConnectionOptions } from "mysql2";
import { RunError, type Summary, type WorkOptions } from "../mp.ts";
import { createProgress } from "../progress.ts";
import { reportLines } from "./report.ts";
import { startSandbox } from "./sandbox.ts";

/** What the command line asks for. */
export interface Command {
  /** The server. */
  readonly db: ConnectionOptions;
  readonly workers: number;
  readonly options: WorkOptions;
}

/**
 * Runs `main` with what the command line asks for, and prints what became of it.
 *
 * @returns the exit status: 0 every query done; 1 some failed or were skipped; 2 the run could not start; 3 some are unknown.
 */
export async function runCommand(main: (command: Command) => Promise<Summary>): Promise<number> {
  const progress = createProgress();
  try {
    progress.log("no server was named: running on a private throwaway MariaDB");
    const sandbox = await startSandbox();
    try {
      const summary = await main({ db: sandbox.db, workers: 4, options: { progress } });
      for (const line of reportLines(summary)) progress.log(line);
      return exitStatus(summary);
    } finally {
      await sandbox.stop();
    }
  } catch (error) {
    const summary = error instanceof RunError ? error.summary : undefined;
    if (summary && summary.total > 0) for (const line of reportLines(summary)) progress.log(line);
    progress.log(`myscript: ${error instanceof Error ? error.message : error}`);
    return Math.max(summary && summary.workers > 0 ? 1 : 2, summary ? exitStatus(summary) : 0);
  }
}

function exitStatus(summary: Summary): number {
  if (summary.unknown > 0) return 3;
  return summary.done === summary.total ? 0 : 1;
}
