/** Builds programs from Go modules into a private folder. Prints progress, because a build takes minutes. */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the built engines. Nothing is installed elsewhere. */
export const enginesDirectory = fileURLToPath(new URL("../../.engines/", import.meta.url));

/** Omits the symbol table and the debug information. */
const stripping = "-s -w";

/**
 * Builds programs in the Go module in `folder`, with one compiler at a time and the lowest priority.
 *
 * @param programs the package of each program, by the path of its executable.
 * @param linking further options of the linker.
 */
export async function goBuild(folder: string, programs: Readonly<Record<string, string>>, linking = ""): Promise<void> {
  const flag = `-ldflags=${stripping} ${linking}`.trim();
  for (const [path, name] of Object.entries(programs)) {
    const uncompiled = go(folder, "list", "-deps", flag, "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", name);
    await build(folder, path, name, flag, uncompiled.split(/\s+/).length - 1);
  }
}

/**
 * Runs a `go` command in a folder and returns its stdout.
 *
 * @throws Error with its stderr if it fails.
 */
export function go(folder: string, ...args: string[]): string {
  const { stdout, stderr, status, error } = spawnSync("go", args, {
    cwd: folder,
    env: environment(),
    encoding: "utf8",
    maxBuffer: 2 ** 28,
  });
  if (error) throw new Error(`Cannot run "go", which builds the engines: ${error.message}`);
  if (status !== 0) throw new Error(`go ${args.join(" ").slice(0, 100)}: ${stderr}`);
  return stdout;
}

/** Creates an empty Go module in a folder. */
export function goModule(folder: string, name: string): void {
  rmSync(join(folder, "go.mod"), { force: true });
  mkdirSync(folder, { recursive: true });
  go(folder, "mod", "init", name);
}

async function build(folder: string, path: string, name: string, flag: string, total: number): Promise<void> {
  const args = ["-n", "19", "go", "build", "-v", "-p", "1", flag, "-o", path, name];
  const child = spawn("nice", args, { cwd: folder, env: environment(), stdio: ["ignore", "ignore", "pipe"] });
  const kill = () => child.kill();
  process.once("exit", kill);
  const startedAt = performance.now();
  let compiled = 0;
  let words = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    compiled += text.split("\n").length - 1; // with -v, go prints a line for each package that it compiles
    words = (words + text).slice(-4000);
  });
  const say = () => {
    const seconds = Math.round((performance.now() - startedAt) / 1000);
    console.log(`  ${name}: ${compiled} of ${total} packages compiled, ${seconds} s`);
  };
  const progress = setInterval(say, process.stdout.isTTY ? 5_000 : 30_000);
  const status = await new Promise((resolve) => child.once("close", resolve));
  clearInterval(progress);
  process.off("exit", kill);
  if (status !== 0) throw new Error(`Cannot build ${name}: ${words}`);
  say();
}

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, GOFLAGS: "-mod=mod" };
}
