/** Gates that pause a run from outside. */
import { statSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { QueryError } from "mysql2";
import { UsageError, why } from "../../command/errors.ts";
import type { Context, Hook } from "../../command/feature.ts";
import { keepLooking, Link, type Watch } from "../../command/link.ts";
import { isTransient } from "../../mysql/errors.ts";

interface PauseFlags {
  readonly pauseFile?: string | undefined;
  readonly pauseQuery?: string | undefined;
  readonly maxPause?: number | undefined;
}

/** @throws UsageError for a file whose directory does not exist, and for a query that fails. */
export async function pauseFor(
  { pauseFile, pauseQuery, maxPause }: PauseFlags,
  servers: Context["servers"],
): Promise<Hook> {
  const watches: Watch[] = [];
  const close = () => {
    for (const { stop } of watches) stop();
  };
  try {
    if (pauseFile !== undefined) watches.push(await watchFile(pauseFile));
    if (pauseQuery !== undefined) watches.push(await watchQuery(pauseQuery, new Link(servers.map(({ db }) => db))));
  } catch (error) {
    close();
    throw error;
  }
  return { options: { gates: watches.map(({ gate }) => gate), maxPauseSeconds: maxPause }, close };
}

async function watchFile(path: string): Promise<Watch> {
  const refuse = (reason: string) => new UsageError(`Cannot use --pause-file ${JSON.stringify(path)}: ${reason}`);
  try {
    statSync(`${dirname(path)}/`); // the directory of the file must exist
  } catch (error) {
    throw refuse(why(error));
  }
  return watchReason(async () => {
    const error = await stat(path).then(
      () => undefined,
      (thrown: NodeJS.ErrnoException) => thrown,
    );
    if (!error) return `paused: ${path} is there`;
    return error.code === "ENOENT" ? undefined : `paused: cannot look for ${path}: ${why(error)}`;
  });
}

async function watchQuery(sql: string, link: Link): Promise<Watch> {
  let latest: string | undefined;
  let isFirst = true;
  const ask = async () => {
    try {
      const [row] = await link.rows(sql);
      const [value] = row?.values() ?? [];
      latest = value && Number(value) !== 0 ? `paused: --pause-query gives ${value.slice(0, 80)}` : undefined;
    } catch (thrown) {
      const error = thrown as QueryError;
      if (isFirst) throw new UsageError(`--pause-query: ${error.message}`);
      // If the server does not answer, its last answer holds. The workers will report the error.
      if ((error.errno ?? 0) > 0 && !isTransient(error)) latest = `paused: --pause-query: ${error.message}`;
    }
    isFirst = false;
    return latest;
  };
  return watchReason(ask, () => link.close());
}

/** Returns a gate that admits nothing while `look` returns a reason. */
async function watchReason(look: () => Promise<string | undefined>, close = () => {}): Promise<Watch> {
  let reason: string | undefined;
  const lookAgain = async () => {
    reason = await look();
  };
  await lookAgain().catch((error) => {
    close();
    throw error;
  });
  const stopLooking = keepLooking(lookAgain);
  return {
    gate: {
      limit: (ended) => (reason === undefined ? Number.POSITIVE_INFINITY : ended),
      get reason() {
        return reason;
      },
    },
    stop() {
      stopLooking();
      close();
    },
  };
}
