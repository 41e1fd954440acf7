/** The versions of Node that contestants run on. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** A version of Node, and how it runs a script in TypeScript. */
export interface Runtime {
  /** Such as `Node 20 + tsx`. */
  readonly name: string;
  /** Such as `Node 20`. */
  readonly version: string;
  readonly node: string;
  readonly typescript: readonly string[];
}

/** The Node that the benchmark runs on, with tsx. */
export const here: Runtime = runtimeAt(process.execPath, "node_modules/tsx/dist/cli.mjs");

/** A Node that reads TypeScript by itself, where one is named by `BENCH_NODE24`. */
export const native: Runtime | undefined = process.env.BENCH_NODE24 ? runtimeAt(process.env.BENCH_NODE24) : undefined;

/** The same, with what it has compiled kept in a directory. */
export function withCompileCache(runtime: Runtime, directory: string): Runtime {
  const typescript = ["env", `NODE_COMPILE_CACHE=${directory}`, ...runtime.typescript];
  return { ...runtime, name: `${runtime.name} with NODE_COMPILE_CACHE`, typescript };
}

/** All of them. */
export const runtimes: readonly Runtime[] = native ? [here, native] : [here];

function runtimeAt(node: string, tsx?: string): Runtime {
  const [major] = execFileSync(node, ["-p", "process.versions.node"], { encoding: "utf8" }).split(".");
  const version = `Node ${major}`;
  if (tsx === undefined) return { name: version, version, node, typescript: [node] };
  return { name: `${version} + tsx`, version, node, typescript: [node, pathOf(tsx)] };
}

/** The path of a file of this project. */
export function pathOf(file: string): string {
  return fileURLToPath(new URL(`../../${file}`, import.meta.url));
}
