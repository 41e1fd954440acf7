/** The transaction of a ledger: its statements, and the state of a try. */
import type { Connection } from "mysql2";
import { executeText, toBytes } from "../../mysql/execute.ts";

export const start = "START TRANSACTION";
export const commit = "COMMIT";
export const rollback = "ROLLBACK";
export const savepoint = "SAVEPOINT myscript_ledger";
export const release = `RELEASE ${savepoint}`;

/** State of a try. It decides about the query if the connection is lost. */
export const initialState = {
  /** The row is inserted, and locked until the transaction ends. */
  inserted: false,
  /** Another session is running the query. It has inserted the row in a transaction that is still open. */
  heldByAnother: false,
  /** The query was sent, and may have caused an implicit commit without its row. */
  mayHaveCommitted: false,
  /** The query caused an implicit commit, for example DDL or a procedure with `COMMIT`. */
  selfCommitted: false,
  /** A `COMMIT` was sent, and may have succeeded. */
  mayBeRecorded: false,
  /** The ledger had the query already. */
  alreadyInLedger: false,
  /** The query was sent together with others, which may have caused its error. It must be retried alone. */
  retryAlone: false,
  /** Time of the COMMIT. */
  commitMs: 0,
};

/**
 * Sends statements in one round trip.
 *
 * @param onDone called for each statement that the server has answered, with its position.
 */
export async function send(
  connection: Connection,
  state: typeof initialState,
  statements: readonly (string | Uint8Array)[],
  onDone: (at: number, rows: number) => void,
): Promise<void> {
  const pieces = statements.flatMap((statement) => [toBytes(statement), separator]).slice(0, -1);
  let since = performance.now();
  state.mayBeRecorded = statements.includes(commit);
  await executeText(connection, pieces, {
    onDone(at, rows) {
      onDone(at, rows);
      const now = performance.now();
      if (statements[at] === commit) state.commitMs = now - since;
      since = now;
    },
  });
}

const separator = Buffer.from(";");
