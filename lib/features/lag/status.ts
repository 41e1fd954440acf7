/** Reads the lag of a replica, and of a member of a Group Replication. */
import type { Link, Row } from "../../command/link.ts";

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

/** Channel in which a member of a Group Replication applies the writes of other members. */
export const groupChannel = "group_replication_applier";

/** Compares the clock of the machine on which a transaction was committed with the member's clock. `SHOW REPLICA STATUS` does not show it. */
const memberStatement = `
  SELECT m.member_state AS state,
    (SELECT a.service_state FROM performance_schema.replication_applier_status a
      WHERE a.channel_name = m.channel_name) AS applier,
    (SELECT s.count_transactions_remote_in_applier_queue FROM performance_schema.replication_group_member_stats s
      WHERE s.member_id = m.member_id) AS queued,
    (SELECT MAX(UNIX_TIMESTAMP(NOW(6)) - UNIX_TIMESTAMP(w.applying_transaction_original_commit_timestamp))
      FROM performance_schema.replication_applier_status_by_worker w
      WHERE w.channel_name = m.channel_name AND w.applying_transaction <> '') AS seconds
  FROM performance_schema.replication_group_members m WHERE m.member_id = @@server_uuid`;

/** Returns the lag of a member of a Group Replication, undefined for a server that is in no group. */
export async function lagInGroup(link: Link): Promise<Lag | undefined> {
  const [row] = await link.rows(memberStatement);
  if (!row) return undefined;
  const state = row.get("state");
  if (state !== "ONLINE") return unable(`does not replicate: its state in the group is ${state}`);
  if (row.get("applier") !== "ON") return unable("does not replicate: the applier of its group does not run");
  return { seconds: Math.max(0, Number(row.get("seconds") ?? 0)), queued: Number(row.get("queued") ?? 0) };
}
