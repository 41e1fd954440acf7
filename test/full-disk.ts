/** A disk that is full, as far as this process can tell. */
import { execFileSync } from "node:child_process";

/** `prlimit` is a program of util-linux. */
export const noLimits = process.platform !== "linux" && "no prlimit";

/** While it runs, no file of this process can become larger; what is written to beyond that fails with EFBIG. */
export async function withFilesUpTo<Result>(bytes: number, run: () => Promise<Result>): Promise<Result> {
  const limit = (most: number | "unlimited") =>
    execFileSync("prlimit", ["--pid", `${process.pid}`, `--fsize=${most}:`]); // the soft limit only
  limit(bytes);
  try {
    return await run();
  } finally {
    limit("unlimited");
  }
}
