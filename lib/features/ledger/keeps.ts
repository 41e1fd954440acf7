import type { Connection } from "mysql2";
import type { DatabaseError } from "../../mysql/errors.ts";
import { notPreparable } from "../../mysql/execute.ts";
import { prepare } from "../../mysql/prepared.ts";
import { keepsTransaction } from "../../mysql/statement.ts";

/** Returns true if a text is one statement that leaves its transaction open. */
export async function keepsForSure(connection: Connection, text: string): Promise<boolean> {
  return keepsTransaction(text) && (!text.includes(";") || (await isOneStatement(connection, text)));
}

/**
 * Returns true if a text is one statement. Asks the server to prepare it, which refuses more than one. Error 1295 means one
 * statement of a kind that cannot be prepared.
 *
 * @throws mysql2's QueryError if the connection is lost.
 */
async function isOneStatement(connection: Connection, sql: string): Promise<boolean> {
  try {
    await prepare(connection, sql);
    connection.unprepare(sql); // not `close()`: mysql2 would execute the closed one
    return true;
  } catch (error) {
    const { fatal, errno } = error as DatabaseError;
    if (fatal) throw error;
    return errno === notPreparable;
  }
}
