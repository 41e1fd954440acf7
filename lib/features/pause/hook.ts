/** Gates that pause a run from outside. */
import { statSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { QueryError } from "mysql2";
import { UsageError, why } from "../../command/errors.ts";
import type { Context, Hook } from "../../command/feature.ts";
import { Link, type Watch, WatchGate, watch } from "../../command/link.ts";
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
  const gate = new WatchGate();
  const watches: Promise<Watch>[] = [];
  if (pauseFile !== undefined) watches.push(watchFile(pauseFile));
  if (pauseQuery !== undefined) watches.push(watchQuery(pauseQuery, new Link(servers.map(({ db }) => db))));
  await gate.replace(watches);
  return { options: { gates: [gate], maxPauseSeconds: maxPause }, close: () => gate.stop() };
}

async function watchFile(path: string): Promise<Watch> {
  const refuse = (reason: string) => new UsageError(`Cannot use --pause-file ${JSON.stringify(path)}: ${reason}`);
  try {
    statSync(`${dirname(path)}/`); // the directory of the file must exist
  } catch (error) {
    throw refuse(why(error));
  }
  let reason: string | undefined;
  return watch({
    async look() {
      reason = await stat(path).then(
        () => `paused: ${path} is there`,
        (error: NodeJS.ErrnoException) =>
          error.code === "ENOENT" ? undefined : `paused: cannot look for ${path}: ${why(error)}`,
      );
    },
    reason: () => reason,
    close() {},
  });
}

function watchQuery(sql: string, link: Link): Promise<Watch> {
  let reason: string | undefined;
  const ask = async () => {
    const [row] = await link.rows(sql);
    const [value] = row?.values() ?? [];
    reason = value && Number(value) !== 0 ? `paused: --pause-query gives ${value.slice(0, 80)}` : undefined;
  };
  return watch({
    begin: () =>
      ask().catch((error: Error) => {
        throw new UsageError(`--pause-query: ${error.message}`);
      }),
    look: () =>
      ask().catch((error: QueryError) => {
        // If the server does not answer, its last answer holds. The workers will report the error.
        if ((error.errno ?? 0) > 0 && !isTransient(error)) reason = `paused: --pause-query: ${error.message}`;
      }),
    reason: () => reason,
    close: () => link.close(),
  });
}
