/** A process that is ended, and its directory removed, when this one is gone, however that comes about. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";

/**
 * Starts a program, and a shell that keeps an eye on it and on this process.
 *
 * @throws Error when the shell cannot be started; the directory is removed then.
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

/** It outlives this process, and reads the end of the pipe when that is gone. `$0` is the directory, `$@` the command. */
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
  /** Resolves when it has ended by itself. */
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

  /** The last of what it has said on stderr, in one line: of MariaDB's and MySQL's logs the errors. */
  get lastWords(): string {
    const errors = [...this.#log.matchAll(/\[ERROR\] (?:\[MY-\d+\] \[\w+\] )?(.+)/g)].map(([, error]) => error!);
    const reasons = errors.filter((error) => error !== "Aborting");
    return reasons.length > 0 ? reasons.join("; ") : (this.#log.trim().split("\n").at(-1) ?? "");
  }

  /** Ends the program, and removes the directory unless that is to be kept; returns its exit status. */
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
      (stream as unknown as { unref?(): void }).unref?.(); // Bun's have none, and keep nothing alive
    }
  }
}
