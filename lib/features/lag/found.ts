/** `--replicas auto`: finds the replicas that a server knows of. */
import type { Address } from "../../command/config.ts";
import { UsageError } from "../../command/errors.ts";
import type { Link, Row } from "../../command/link.ts";
import type { DatabaseError } from "../../mysql/errors.ts";
import { grantFor, isDenied } from "./grant.ts";

/**
 * Returns the replicas of all sources. A source that cannot be reached adds none.
 *
 * @throws UsageError if no source can be reached, or with the missing GRANT if the account may not see the replicas.
 */
export async function foundReplicas(sources: readonly Link[]): Promise<Address[]> {
  const found = await Promise.allSettled(sources.map(replicasOf));
  const failures = found.flatMap((each) => (each.status === "rejected" ? [each.reason as Error] : []));
  const refusal = failures.find((error) => error instanceof UsageError);
  if (refusal) throw refusal;
  if (failures.length === sources.length) throw new UsageError(`--replicas auto: ${failures[0]!.message}`);
  const addresses = found.flatMap((each) => (each.status === "fulfilled" ? each.value : []));
  return [...new Map(addresses.map((each) => [`${each.host} ${each.port}`, each])).values()];
}

async function replicasOf(source: Link): Promise<Address[]> {
  const registered = await asked(source, ["SHOW REPLICAS", "SHOW SLAVE HOSTS"], "REPLICATION SLAVE");
  const unnamed = registered.filter((row) => !row.get("host"));
  const addresses: Address[] = registered.filter((row) => row.get("host")).map(addressOf);
  // Some servers list a replica that has no report_host without its name, others do not list it.
  if (unnamed.length > 0 || registered.length === 0) addresses.push(...(await readersOf(source, unnamed)));
  return [...addresses, ...(await membersOf(source))];
}

/** Returns the hosts that read the binary log. Their ports come from `unnamed`, because the port of a connection is another one. */
async function readersOf(source: Link, unnamed: readonly Row[]): Promise<Address[]> {
  const readers = await source.rows(
    "SELECT host FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'",
  );
  const hosts = [...new Set(readers.map((row) => (row.get("host") ?? "").replace(/:\d+$/, "")))];
  const ports = [...new Set(unnamed.map((row) => Number(row.get("port"))))];
  const help = "name the replicas, or set report_host on them";
  if (unnamed.length > 0 && hosts.length === 0)
    throw new UsageError(`--replicas auto: the account needs PROCESS to see where they are: ${help}`);
  if (hosts.length > 1 && ports.length > 1)
    throw new UsageError(`--replicas auto: cannot match their hosts with their ports: ${help}`);
  return hosts.flatMap((host) => (ports.length > 0 ? ports.map((port) => ({ host, port })) : [{ host }]));
}

/** Returns the other members of a Group Replication. */
async function membersOf(source: Link): Promise<Address[]> {
  const plugin = "SELECT 1 FROM information_schema.plugins WHERE plugin_name = 'group_replication'";
  if ((await source.rows(plugin)).length === 0) return [];
  const members =
    "SELECT member_host AS host, member_port AS port FROM performance_schema.replication_group_members" +
    " WHERE member_id <> @@server_uuid";
  return (await asked(source, [members], "SELECT")).map(addressOf);
}

function addressOf(row: Row): Address {
  return { host: row.get("host")!, port: Number(row.get("port")) };
}

/** Runs the first of the statements that the server knows. */
async function asked(source: Link, [text, ...others]: readonly string[], privilege: string): Promise<Row[]> {
  try {
    return await source.rows(text!);
  } catch (thrown) {
    const error = thrown as DatabaseError;
    if (error.errno === 1064 && others.length > 0) return asked(source, others, privilege); // ER_PARSE_ERROR
    if (!isDenied(error)) throw error;
    throw new UsageError(`--replicas auto: ${await grantFor(source, error, `${privilege} ON *.*`)}`);
  }
}
