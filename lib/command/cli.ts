/** The command around `main()`: flags, server, signals, output, summary, exit status. */
import { readFileSync } from "node:fs";
import type { Summary } from "../mp.ts";
import { createProgress } from "../parent/progress.ts";
import { isThreadOfRun } from "../shared/own-thread.ts";
import { takeConsole } from "./console.ts";
import { explain, UsageError } from "./errors.ts";
import { type Hook, type Io, scriptOf } from "./feature.ts";
import { finish, runToEnd, statusWhenWritten } from "./finish.ts";
import { features, help, loadFeatures, parseFlags } from "./flag-table.ts";
import { Output } from "./output.ts";
import { type Command, setUp } from "./setup.ts";
import { watchSignals } from "./signals.ts";

/**
 * Runs `main` with the settings of the command line, and prints the summary. Does nothing in a worker thread of a run.
 *
 * @param io the process, or a replacement for it in a test.
 * @returns the exit status: 0 every query done; 1 some failed or were skipped; 2 usage, configuration or no server; 3 some are
 * unknown; 129, 130 and 143 after SIGHUP, SIGINT and SIGTERM.
 */
export async function runCommand(main: (command: Command) => Promise<Summary>, io: Io = process): Promise<number> {
  if (isThreadOfRun()) return 0;
  io.stderr.on("error", () => {}); // its reader may have closed it
  const output = new Output(io.stdout);
  let progress = createProgress(io.stderr);
  const script = scriptOf(io);
  const complain = (message: string) => progress.log(`${script.replace(/\.[cm]?[jt]s$/, "")}: ${message}`);
  let interruption: ReturnType<typeof watchSignals> | undefined;
  const hooks: Hook[] = [];
  try {
    checkRuntime();
    if (typeof main !== "function")
      throw new UsageError("runCommand() needs a function that returns the promise of doWork()");
    await loadFeatures();
    const flags = parseFlags(io.argv.slice(2));
    const writesData = features.some((feature) => feature.writesData?.(flags));
    if (flags.help || flags.version) {
      void output.write(`${flags.help ? help().replace("myscript.ts", script) : version()}\n`);
      return 0;
    }
    const hasBar = !flags.quiet && !(writesData && io.stdout.isTTY); // rows on the terminal would overwrite it
    progress = createProgress(io.stderr, !hasBar);
    interruption = watchSignals(io, progress, output, flags.dryRun);
    hooks.push(interruption, takeConsole(io, writesData || flags.json || flags.dryRun, progress, output));
    const around = { io, output, progress, hasBar, hooks, drain: interruption.drain };
    const { command, ...facts } = await setUp(flags, around);
    const run = await runToEnd(() => main(command), hooks);
    if (flags.dryRun && run.error) throw run.error;
    if (flags.dryRun) return await statusWhenWritten(0, output, complain);
    const status = await finish(run, { ...flags, ...facts, complain }, hooks, progress, output);
    return (run.error === undefined && interruption.status()) || status;
  } catch (error) {
    complain(explain(error));
    interruption?.drain.abort(); // main() may have left a run under way
    return interruption?.status() || 2;
  } finally {
    for (const hook of hooks.reverse()) {
      try {
        await hook.close?.();
      } catch (error) {
        complain(explain(error));
      }
    }
    await output.flush();
    // Otherwise a connection that main() left open would keep the process alive.
    if (io === process) setTimeout(() => process.exit(), 1000).unref();
  }
}

/** Refuses Node before 20.6, which would fail later with a strange error. Deno and Bun report a Node version, too. */
function checkRuntime(): void {
  const [major, minor] = process.versions.node.split(".").map(Number) as [number, number];
  if (major > 20 || (major === 20 && minor >= 6)) return;
  throw new UsageError(`Cannot run on Node ${process.versions.node}: Node must be 20.6 or later`);
}

function version(): string {
  return `myscript ${JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version}`;
}
