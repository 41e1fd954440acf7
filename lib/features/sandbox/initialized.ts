/**
 * The data directory with which a MySQL server begins. To make one takes seconds, and to copy it a tenth of one: so it is made
 * once, and kept in a folder that nobody but its user can get at.
 */
import { createHash } from "node:crypto";
import { existsSync, lstatSync, realpathSync, statSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keep } from "./keeper.ts";

/**
 * Returns a directory with the system tables of this `mysqld`, to be copied; makes it where there is none yet. Any number of
 * processes may do this at the same time.
 *
 * @throws Error with the last words of `mysqld` when it fails.
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

/** In a folder where all may write, a name that can be guessed may be there already, and somebody else's. */
async function privateCache(): Promise<string> {
  const uid = process.getuid?.();
  const path = join(tmpdir(), `myscript-cache-${uid ?? "user"}`);
  await mkdir(path, { mode: 0o700 }).catch(() => {}); // it is there, or what it is shows below
  const found = lstatSync(path);
  if (found.isDirectory() && (uid === undefined || (found.uid === uid && (found.mode & 0o077) === 0))) return path;
  throw new Error(`${path} must be a directory of this user alone: remove it`);
}
