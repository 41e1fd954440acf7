/** The versions of Node that contestants run on. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** A version of Node, with the command that runs TypeScript on it. */
export interface Runtime {
  /** Example: `Node 20 + tsx`. */
  readonly name: string;
  /** Example: `Node 20`. */
  readonly version: string;
  readonly node: string;
  readonly typescript: readonly string[];
}

/** The Node that the benchmark runs on, with tsx. */
export const here: Runtime = runtimeAt(process.execPath, "node_modules/tsx/dist/cli.mjs");

/** The Node that `BENCH_NODE24` names, which reads TypeScript without tsx. */
export const native: Runtime | undefined = process.env.BENCH_NODE24 ? runtimeAt(process.env.BENCH_NODE24) : undefined;

/** Returns the runtime with Node's compile cache in a directory. */
export function withCompileCache(runtime: Runtime, directory: string): Runtime {
  const typescript = ["env", `NODE_COMPILE_CACHE=${directory}`, ...runtime.typescript];
  return { ...runtime, name: `${runtime.name} with NODE_COMPILE_CACHE`, typescript };
}

export const runtimes: readonly Runtime[] = native ? [here, native] : [here];

function runtimeAt(node: string, tsx?: string): Runtime {
  const [major] = execFileSync(node, ["-p", "process.versions.node"], { encoding: "utf8" }).split(".");
  const version = `Node ${major}`;
  if (tsx === undefined) return { name: version, version, node, typescript: [node] };
  return { name: `${version} + tsx`, version, node, typescript: [node, pathOf(tsx)] };
}

/** Returns the absolute path of a file of this project. */
export function pathOf(file: string): string {
  return fileURLToPath(new URL(`../../${file}`, import.meta.url));
}
