/** Measures the lag of a member of a Group Replication. `SHOW REPLICA STATUS` does not show it. */
import type { Link } from "../../command/link.ts";
import { type Lag, unable } from "./status.ts";

/** Channel in which a member applies the writes of other members. */
export const groupChannel = "group_replication_applier";

/** Compares the clock of the machine on which a transaction was committed with the member's clock. */
const statement = `
  SELECT m.member_state AS state,
    (SELECT a.service_state FROM performance_schema.replication_applier_status a
      WHERE a.channel_name = m.channel_name) AS applier,
    (SELECT s.count_transactions_remote_in_applier_queue FROM performance_schema.replication_group_member_stats s
      WHERE s.member_id = m.member_id) AS queued,
    (SELECT MAX(UNIX_TIMESTAMP(NOW(6)) - UNIX_TIMESTAMP(w.applying_transaction_original_commit_timestamp))
      FROM performance_schema.replication_applier_status_by_worker w
      WHERE w.channel_name = m.channel_name AND w.applying_transaction <> '') AS seconds
  FROM performance_schema.replication_group_members m WHERE m.member_id = @@server_uuid`;

/** Returns the lag of a member, undefined for a server that is in no group. */
export async function lagInGroup(link: Link): Promise<Lag | undefined> {
  const [row] = await link.rows(statement);
  if (!row) return undefined;
  const state = row.get("state");
  if (state !== "ONLINE") return unable(`does not replicate: its state in the group is ${state}`);
  if (row.get("applier") !== "ON") return unable("does not replicate: the applier of its group does not run");
  return { seconds: Math.max(0, Number(row.get("seconds") ?? 0)), queued: Number(row.get("queued") ?? 0) };
}
