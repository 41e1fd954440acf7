/** A script whose `workerDo()` runs a query, as the default one does. */
import type { Connection } from "mysql2";
import { execute } from "../../lib/mysql/execute.ts";
import type { Query } from "../../lib/shared/query.ts";

export function workerDo(query: Query, connection: Connection): Promise<number> {
  return execute(connection, query);
}
