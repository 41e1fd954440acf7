/** Opening a job log: to append to it, or to look at it. */
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { UsageError, why } from "../../command/errors.ts";
import { syncDirectory } from "./append-file.ts";
import { Journal, type JournalOptions } from "./journal.ts";
import { header, type Past, readLog } from "./journal-lines.ts";
import { openLocked } from "./lock.ts";

/**
 * Opens the job log and locks it; with `resume`, reads what earlier runs left.
 *
 * @throws UsageError when it is another run's, is there without `resume`, or cannot be opened, written or understood.
 */
export async function openJournal(path: string, options: JournalOptions): Promise<Journal> {
  let handle: FileHandle | undefined;
  try {
    handle = await openLocked(path);
    const { size } = await handle.stat();
    if (size > 0 && !options.resume) {
      throw new UsageError(`Job log ${path} exists: give --resume to go on with it, or remove it`);
    }
    const past = await readLog(handle, path);
    checkShard(past, path, options);
    if (past.bytes < size) await handle.truncate(past.bytes); // the last line was cut off
    if (past.bytes === 0) {
      await handle.appendFile(header);
      await handle.sync();
      await syncDirectory(dirname(path));
    }
    return new Journal(handle, path, past, options, "append");
  } catch (error) {
    await handle?.close();
    throw error instanceof UsageError ? error : new UsageError(`Cannot use ${path}: ${why(error)}`);
  }
}

/**
 * Reads what earlier runs have left, to look at: writes nothing, and does not mind a run that is using the log.
 *
 * @throws UsageError when it is not there, is another run's, or cannot be understood.
 */
export async function readJournal(path: string, options: JournalOptions): Promise<Journal> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path);
    const past = await readLog(handle, path);
    checkShard(past, path, options);
    return new Journal(handle, path, past, options, "read");
  } catch (error) {
    await handle?.close();
    throw error instanceof UsageError ? error : new UsageError(`Cannot use ${path}: ${why(error)}`);
  }
}

function checkShard({ shard }: Past, path: string, options: JournalOptions): void {
  if (shard === undefined || shard === (options.shard ?? "")) return;
  const was = shard ? `with --shard ${shard}` : "without --shard";
  throw new UsageError(`Cannot resume ${path}: it was written ${was}`);
}
