/** Members of a Group Replication on this machine. The first member is the primary. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { RowDataPacket } from "mysql2/promise";
import { poll } from "./run.ts";
import { findFreePort, startServer, type TestServer } from "./server.ts";
import { serversDirectory, target } from "./target.ts";

const plugins = join(serversDirectory, target.name, "usr/lib/mysql/plugin");

/** The reason to skip a test that needs a group, or false. */
export const lacksGroup: string | false =
  !existsSync(join(plugins, "group_replication.so")) && `${target.name} has no Group Replication`;

/** Starts the members. The account `root` may connect to each over TCP from this machine. */
export async function startGroup(count: number): Promise<readonly TestServer[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await findFreePort());
  const settings = (index: number) => ({
    "plugin-dir": plugins,
    "plugin-load-add": "group_replication.so",
    "performance-schema": "ON",
    "log-bin": "binlog",
    "server-id": index + 1,
    "gtid-mode": "ON",
    "enforce-gtid-consistency": "ON",
    "report-host": "127.0.0.1",
    "group-replication-group-name": name,
    "group-replication-start-on-boot": "OFF",
    "group-replication-local-address": `127.0.0.1:${ports[index]}`,
    "group-replication-group-seeds": ports.map((port) => `127.0.0.1:${port}`).join(),
    "group-replication-recovery-get-public-key": "ON",
  });
  const name = randomUUID();
  const options = (index: number) => Object.entries(settings(index)).map(([option, value]) => `--${option}=${value}`);
  // The plugin does not start if TLS is off.
  const members = await Promise.all(ports.map((_, index) => startServer({ args: options(index), tls: true })));
  try {
    for (const [index, { root }] of members.entries()) {
      // Each member creates this account itself, and RESET drops its GTID. A member with a GTID that the group lacks cannot join.
      await root.query("CREATE USER root@'127.0.0.1'; GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION");
      await root.query(
        "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'root', SOURCE_PASSWORD = '' FOR CHANNEL 'group_replication_recovery'",
      );
      await root.query("RESET BINARY LOGS AND GTIDS");
      if (index === 0) await root.query("SET GLOBAL group_replication_bootstrap_group = ON");
      await root.query("START GROUP_REPLICATION");
      if (index === 0) await root.query("SET GLOBAL group_replication_bootstrap_group = OFF");
      await poll(async () => (await stateOf(root)) === "ONLINE");
    }
  } catch (error) {
    await Promise.all(members.map((member) => member.stop()));
    throw error;
  }
  return members;
}

async function stateOf(root: TestServer["root"]): Promise<string | undefined> {
  const [[row]] = await root.query<RowDataPacket[]>(
    "SELECT member_state AS state FROM performance_schema.replication_group_members WHERE member_id = @@server_uuid",
  );
  return row?.state;
}
