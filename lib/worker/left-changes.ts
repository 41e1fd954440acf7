/** Detects changes that a failed statement left in tables without transactions, such as MyISAM's. */
import type { Connection } from "mysql2";
import { type DatabaseError, isLost, isUnreached } from "../mysql/errors.ts";
import { notRolledBack, partStays } from "./rollback.ts";
import type { Session } from "./session.ts";

/** Returns true if the failed statement has changed tables without transactions, or may have. Adds that to the error's message. */
export async function mayHaveLeftChanges(error: DatabaseError, session: Session): Promise<boolean> {
  if (isLost(error)) return false;
  const warnings = await session.askWarnings().catch(() => []);
  const codes = warnings.map(([, code]) => Number(code));
  if (codes.includes(notRolledBack)) {
    error.message += partStays;
    return true;
  }
  // A server lists the error itself. A proxy answers with an empty list, or with that of another session.
  if (codes.includes(error.errno!) || isUnreached(error) || !(await mayHaveSuchTables(session))) return false;
  error.message += "; if it has changed tables without transactions, that stays: the server does not tell";
  return true;
}

/** Connections to servers that have only transactional tables. */
const transactional = new WeakSet<Connection>();

/** Returns false if this account sees no table without transactions. */
async function mayHaveSuchTables(session: Session): Promise<boolean> {
  if (transactional.has(session.mysql)) return false;
  const rows = await session.ask(oneSuchTable).catch(() => undefined);
  if (rows?.length === 0) transactional.add(session.mysql);
  return rows?.length !== 0;
}

const oneSuchTable = `SELECT 1 FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine
  WHERE e.transactions <> 'YES' AND t.table_type = 'BASE TABLE'
  AND t.table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') LIMIT 1`;
