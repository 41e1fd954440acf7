/** Opens a job log for appending or only for reading. */
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { UsageError, why } from "../../command/errors.ts";
import { syncDirectory } from "./append-file.ts";
import { Journal, type JournalOptions } from "./journal.ts";
import { type EarlierRuns, header, readLog } from "./journal-lines.ts";
import { openLocked } from "./lock.ts";

/**
 * Opens the job log, locks it, and reads what earlier runs have left.
 *
 * @throws UsageError if another run uses it, if it has lines and `resume` is false, or if it cannot be opened, written or understood.
 */
export async function openJournal(path: string, options: JournalOptions): Promise<Journal> {
  let handle: FileHandle | undefined;
  try {
    handle = await openLocked(path);
    const { size } = await handle.stat();
    if (size > 0 && !options.resume) {
      throw new UsageError(`Job log ${path} exists: give --resume to go on with it, or remove it`);
    }
    const earlierRuns = await readLog(handle, path);
    checkShard(earlierRuns, path, options);
    if (earlierRuns.bytes < size) await handle.truncate(earlierRuns.bytes); // the last line was cut off
    if (earlierRuns.bytes === 0) {
      await handle.appendFile(header);
      await handle.sync();
      await syncDirectory(dirname(path));
    }
    return new Journal(handle, path, earlierRuns, options, "append");
  } catch (error) {
    await handle?.close();
    throw error instanceof UsageError ? error : new UsageError(`Cannot use ${path}: ${why(error)}`);
  }
}

/**
 * Reads what earlier runs have left. It writes nothing and takes no lock, so a run may be using the log.
 *
 * @throws UsageError if it does not exist, is of another shard, or cannot be understood.
 */
export async function readJournal(path: string, options: JournalOptions): Promise<Journal> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path);
    const earlierRuns = await readLog(handle, path);
    checkShard(earlierRuns, path, options);
    return new Journal(handle, path, earlierRuns, options, "read");
  } catch (error) {
    await handle?.close();
    throw error instanceof UsageError ? error : new UsageError(`Cannot use ${path}: ${why(error)}`);
  }
}

function checkShard({ shard }: EarlierRuns, path: string, options: JournalOptions): void {
  if (shard === undefined || shard === (options.shard ?? "")) return;
  const was = shard ? `with --shard ${shard}` : "without --shard";
  throw new UsageError(`Cannot resume ${path}: it was written ${was}`);
}
