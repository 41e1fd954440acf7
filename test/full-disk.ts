/** A disk that is full, as far as this process can tell. */
import { execFileSync, spawnSync } from "node:child_process";

/** Why a test that needs one is skipped; false where util-linux is there. */
export const noLimits = spawnSync("prlimit", ["--version"]).error !== undefined && "no prlimit";

/** While it runs, no file of this process can become larger; what is written to beyond that fails with EFBIG. */
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
