/** Runs a program that ends, and whose directory is removed, when this process ends, even if it is killed. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";

/**
 * Starts a program, and a shell that watches the program and this process.
 *
 * @throws Error if the shell cannot be started. The directory is removed then.
 */
export async function keep(directory: string, command: readonly string[]): Promise<Kept> {
  try {
    // Its own session keeps Ctrl-C on the terminal away from the program.
    const shell = spawn("/bin/sh", ["-c", shellScript, directory, ...command], { detached: true });
    const kept = new Kept(shell, directory);
    await once(shell, "spawn");
    return kept;
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

/** Script of the shell. It outlives this process, whose end it sees as the end of its stdin. `$0` is the directory, `$@` the command. */
const shellScript = `
"$@" </dev/null &
echo $!
exec >&- 2>&-
read -r wish
kill -9 $!
wait $!
status=$?
PATH=$PATH:/bin:/usr/bin
[ "$wish" = keep ] || rm -rf "$0"
exit $status
`;

export class Kept {
  /** The process id of the program. */
  readonly pid: Promise<number>;
  /** Resolves when the program has ended. */
  readonly gone: Promise<void>;
  isGone = false;
  #log = "";
  readonly #shell: ChildProcessWithoutNullStreams;
  readonly #directory: string;
  readonly #status: Promise<number>;

  constructor(shell: ChildProcessWithoutNullStreams, directory: string) {
    this.#shell = shell;
    this.#directory = directory;
    shell.on("error", () => {});
    shell.stdin.on("error", () => {}); // the shell itself may be gone
    this.#status = new Promise((resolve) => shell.once("exit", (status) => resolve(status ?? 1)));
    this.pid = new Promise((resolve) => shell.stdout.once("data", (line) => resolve(Number(line))));
    shell.stderr.on("data", (chunk) => {
      this.#log = (this.#log + chunk).slice(-20_000);
    });
    this.gone = new Promise((resolve) => shell.stderr.once("close", resolve));
    this.gone.then(() => {
      this.isGone = true;
    });
  }

  /** The errors in its log (MariaDB and MySQL) on one line, or else its last line on stderr. */
  get lastWords(): string {
    const errors = [...this.#log.matchAll(/\[ERROR\] (?:\[MY-\d+\] \[\w+\] )?(.+)/g)].map(([, error]) => error!);
    const reasons = errors.filter((error) => error !== "Aborting");
    return reasons.length > 0 ? reasons.join("; ") : (this.#log.trim().split("\n").at(-1) ?? "");
  }

  /** Ends the program, removes the directory unless `wish` is `keep`, and returns the exit status. */
  async end(wish: "keep" | "remove" = "remove"): Promise<number> {
    this.#shell.ref();
    this.#shell.stdin.end(`${wish}\n`);
    const status = await this.#status;
    if (wish === "remove") await rm(this.#directory, { recursive: true, force: true }); // the shell may find no "rm"
    return status;
  }

  /** Lets this process end while the program still runs. */
  unref(): void {
    this.#shell.unref();
    for (const stream of [this.#shell.stdin, this.#shell.stdout, this.#shell.stderr]) {
      (stream as unknown as { unref?(): void }).unref?.(); // Bun's streams have no unref(), and do not keep the process alive
    }
  }
}
