/**
 * Locks a file for one process.
 *
 * The lock is one of the kernel, on the file itself. It ends with the process, even if that is killed. It also works through links
 * and across containers.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

/**
 * Opens a file for reading and appending, and creates it if it is missing. No other process can lock it until this one closes it
 * or exits.
 *
 * @throws Error with the reason if it cannot be opened or locked.
 */
export async function openLocked(path: string): Promise<FileHandle> {
  const { O_RDWR, O_CREAT, O_APPEND, O_NONBLOCK } = constants;
  const lock = process.platform === "darwin" ? 0x20 | O_NONBLOCK : 0; // 0x20: O_EXLOCK, which Linux does not have
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, O_RDWR | O_CREAT | O_APPEND | lock, 0o666);
    if (!(await handle.stat()).isFile()) throw new Error("it is not a file");
    if (!lock) await flock(handle);
    return handle;
  } catch (error) {
    await handle?.close();
    throw lock && (error as NodeJS.ErrnoException).code === "EAGAIN" ? new Error(inUse, { cause: error }) : error;
  }
}

const inUse = "another run is using it";

/** Locks a file with the program `flock`, as `flock 9` does for a shell. The lock stays with this process, which shares the open file. */
async function flock({ fd }: FileHandle): Promise<void> {
  try {
    const [status] = await once(spawn("flock", ["-n", "0"], { stdio: [fd, "ignore", "ignore"] }), "exit");
    if (status !== 0) throw new Error(status === 1 ? inUse : `flock cannot lock it (status ${status})`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new Error("the program flock (Debian: util-linux) is not on the PATH");
  }
}
