/**
 * Makes the data directory with which a MySQL server begins. Making it takes seconds, copying it a tenth of a second. So it is made
 * once, and kept in a folder that only its user can access.
 */
import { createHash } from "node:crypto";
import { existsSync, lstatSync, realpathSync, statSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keep } from "./keeper.ts";

/**
 * Returns a directory with the system tables of this `mysqld`, to be copied. Makes it if there is none yet. Any number of processes
 * may do this at the same time.
 *
 * @throws Error with the last messages of `mysqld` if it fails.
 */
export async function initializedDirectory(program: string): Promise<string> {
  const cache = await privateCache();
  const { mtimeMs, size } = statSync(program);
  const key = createHash("sha256")
    .update(`${realpathSync(program)} ${mtimeMs} ${size}`)
    .digest("hex")
    .slice(0, 16);
  const made = join(cache, key);
  if (existsSync(made)) return made;
  const fresh = await mkdtemp(join(cache, "new-"));
  const asRoot = process.getuid?.() === 0 ? ["--user=root"] : [];
  const small = ["--loose-innodb-redo-log-capacity=8M", "--loose-innodb-log-file-size=4M"]; // of 8.0 and later, of 5.7
  const command = [program, "--no-defaults", "--initialize-insecure", `--datadir=${fresh}`, ...small, ...asRoot];
  const kept = await keep(fresh, command);
  await kept.gone;
  if ((await kept.end("keep")) === 0) {
    try {
      await rename(fresh, made);
      return made;
    } catch {
      // Another process was faster.
    }
  }
  await rm(fresh, { recursive: true, force: true });
  if (existsSync(made)) return made;
  throw new Error(kept.lastWords || "it was ended while it initialized its data directory");
}

/** Returns the folder of the cache. Checks its owner and mode, because another user could have created it in the shared folder. */
async function privateCache(): Promise<string> {
  const uid = process.getuid?.();
  const path = join(tmpdir(), `myscript-cache-${uid ?? "user"}`);
  await mkdir(path, { mode: 0o700 }).catch(() => {}); // an error shows in the check below
  const found = lstatSync(path);
  if (found.isDirectory() && (uid === undefined || (found.uid === uid && (found.mode & 0o077) === 0))) return path;
  throw new Error(`${path} must be a directory of this user alone: remove it`);
}
