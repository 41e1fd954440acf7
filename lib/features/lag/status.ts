/** Reads the lag from the status of a replica. */
import type { Row } from "../../command/link.ts";

/** Lag of a replica. If it is unknown, `seconds` is infinite and `why` is the reason. */
export interface Lag {
  readonly seconds: number;
  readonly why?: string;
  /** Transactions that wait to be applied, if known. */
  readonly queued?: number;
}

/** Returns an unknown lag. */
export function unable(why: string): Lag {
  return { seconds: Number.POSITIVE_INFINITY, why };
}

/** Returns the name of a row's channel in lower case, because channel names are not case-sensitive. */
export function channelOf(row: Row): string {
  return (row.get("channel_name") || row.get("connection_name") || "").toLowerCase();
}

/** Reads a row of `SHOW REPLICA STATUS`. */
export function lagOf(row: Row): Lag {
  // Columns have the words replica/source or slave/master, depending on the version.
  const value = (name: string) =>
    row.get(name) ?? row.get(name.replace("replica", "slave").replace("source", "master")) ?? undefined;
  const channel = row.get("channel_name") || row.get("connection_name");
  const stopped = (thread: string, state: string | undefined, error: string | undefined) => {
    const does = state === "Connecting" ? "is connecting" : "does not run";
    return unable(
      `does not replicate: ${channel ? `channel ${channel}: ` : ""}its ${thread} thread ${does}${error ? `: ${error}` : ""}`,
    );
  };
  const sql = value("replica_sql_running");
  if (sql !== "Yes") return stopped("SQL", sql, value("last_sql_error"));
  const io = value("replica_io_running");
  const seconds = value("seconds_behind_source");
  if (io !== "Yes" || seconds === undefined) return stopped("I/O", io, value("last_io_error"));
  return { seconds: Number(seconds) };
}
