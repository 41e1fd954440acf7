/** Opens a job log. */
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { UsageError, why } from "../../command/errors.ts";
import { syncDirectory } from "./append-file.ts";
import { Journal, type JournalOptions } from "./journal.ts";
import { type EarlierRuns, header, readLog } from "./journal-lines.ts";
import { openLocked } from "./lock.ts";

/**
 * Opens the job log and reads what earlier runs have left.
 *
 * @param use `append` locks the log, and creates it if it is missing. `read` writes nothing, and a run may be using the log.
 * @throws UsageError if another run uses it, if it has lines and `resume` is false, if it is of another shard, or if it cannot be
 * opened, written or understood.
 */
export async function openJournal(
  path: string,
  options: JournalOptions,
  use: "read" | "append" = "append",
): Promise<Journal> {
  let handle: FileHandle | undefined;
  try {
    handle = await (use === "append" ? openLocked(path) : open(path));
    const { size } = await handle.stat();
    if (size > 0 && !options.resume) {
      throw new UsageError(`Job log ${path} exists: give --resume to go on with it, or remove it`);
    }
    const earlierRuns = await readLog(handle, path);
    checkShard(earlierRuns, path, options);
    if (use === "append") await prepare(handle, earlierRuns.bytes, size, path);
    return new Journal(handle, path, earlierRuns, options, use);
  } catch (error) {
    await handle?.close();
    throw error instanceof UsageError ? error : new UsageError(`Cannot use ${path}: ${why(error)}`);
  }
}

/** Cuts a last line that is not whole, and begins a new log with the header. */
async function prepare(handle: FileHandle, bytes: number, size: number, path: string): Promise<void> {
  if (bytes < size) await handle.truncate(bytes);
  if (bytes > 0) return;
  await handle.appendFile(header);
  await handle.sync();
  await syncDirectory(dirname(path));
}

function checkShard({ shard }: EarlierRuns, path: string, options: JournalOptions): void {
  if (shard === undefined || shard === (options.shard ?? "")) return;
  const was = shard ? `with --shard ${shard}` : "without --shard";
  throw new UsageError(`Cannot resume ${path}: it was written ${was}`);
}
