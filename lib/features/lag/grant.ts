/** Finds the GRANT that an account lacks. */
import type { Link } from "../../command/link.ts";
import type { DatabaseError } from "../../mysql/errors.ts";

/** True if the account lacks a privilege. */
export function isDenied({ errno }: DatabaseError): boolean {
  // ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR
  return errno === 1142 || errno === 1143 || errno === 1227;
}

/** Returns the server's error and the GRANT that helps. `otherwise` is the privilege if the error names none. */
export async function grantFor(link: Link, { message }: DatabaseError, otherwise: string): Promise<string> {
  const [row] = await link.rows("SELECT CURRENT_USER() AS account");
  const account = (row?.get("account") ?? "").replace(/^(.*)@(.*)$/, "'$1'@'$2'");
  // The error names the privilege, and each version of the server another one.
  const named = /REPLICATION (?:CLIENT|SLAVE|MASTER ADMIN)|(?:SLAVE|REPLICA) MONITOR/.exec(message)?.[0];
  const ofGroup = /for table [`']?replication_/.test(message) ? "SELECT ON performance_schema.*" : undefined;
  return `${message}: GRANT ${named ? `${named} ON *.*` : (ofGroup ?? otherwise)} TO ${account}`;
}
