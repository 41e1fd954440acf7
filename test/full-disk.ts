/** A limit on the size of files, instead of a disk that is full. */
import { execFileSync, spawnSync } from "node:child_process";

/** The reason to skip a test that needs the limit, or false. `prlimit` is part of util-linux. */
export const noLimits = spawnSync("prlimit", ["--version"]).error !== undefined && "no prlimit";

/** Calls `run()` while no file of this process can grow beyond `bytes`. A write beyond that fails with EFBIG. */
export async function withFilesUpTo<Result>(bytes: number, run: () => Promise<Result>): Promise<Result> {
  const before = prlimit("--fsize", "--raw", "--noheadings", "--output=SOFT").trim();
  prlimit(`--fsize=${bytes}:`); // the soft limit only
  try {
    return await run();
  } finally {
    prlimit(`--fsize=${before}:`);
  }
}

function prlimit(...args: readonly string[]): string {
  return execFileSync("prlimit", ["--pid", `${process.pid}`, ...args], { encoding: "utf8" });
}
