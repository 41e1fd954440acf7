/** One query, from its claim to its outcome: trying, trying again, interrupting.       (worker side) */
import type { Connection, FieldPacket } from "mysql2";
import { connectionIn } from "./connection.ts";
import { checkOneStatement, execute, isInTransaction, type ResultListener } from "./execute.ts";
import { executeOnce, isRecorded, LedgerError, newTrial, type Trial } from "./ledger.ts";
import { backoffMs, type DatabaseError, type Verdict, verdictOf } from "./outcome.ts";
import type { Outcome } from "./queue.ts";
import { rowEncoder } from "./rows.ts";
import { keep, mustReopen, open, type Script, type Session } from "./session.ts";
import { isAtomic, lastingStatement, sessionStatement } from "./statement.ts";
import {
  addRows,
  type Claim,
  counters,
  data,
  endRun,
  inFlight,
  interruptRunning,
  isDraining,
  pause,
  plain,
  post,
  sendRows,
} from "./thread.ts";
import type { Query } from "./unit.ts";

/** What has come of a query so far: rows on their way to the parent, and what the ledger can tell. */
interface Output extends Trial {
  rows: number;
}

/**
 * Runs one query to its outcome; returns the session to go on with, or `undefined` when there is none to be had.
 *
 * @param triesBefore how often it has been sent together with others, each time to be sent again.
 */
export async function run(
  worker: number,
  claim: Claim,
  opened: Session,
  script: Script,
  mayHaveRunBefore = claim.segment.mayHaveRun(claim.index),
  triesBefore = 0,
): Promise<Session | undefined> {
  const start = performance.now();
  const output: Output = { rows: 0, ...newTrial() };
  let mayHaveRun = mayHaveRunBefore;
  let session: Session | undefined = opened;
  let cause: unknown;
  if (triesBefore > 0) await pause(backoffMs(triesBefore));
  for (let tries = 1 + triesBefore; session && !(tries > 1 && isDraining()); tries++) {
    session = await keep(worker, session, script);
    if (!session) break;
    claim.segment.addTry(claim.index);
    try {
      const rows = await attempt(worker, claim, session, script, output);
      if (output.selfCommitted) counters.add(worker, "selfCommitted");
      end(worker, claim, "done", start, typeof rows === "number" ? rows : 0);
      return session;
    } catch (thrown) {
      cause = thrown ?? new Error("workerDo() rejected without a reason");
      const error = cause as DatabaseError;
      const connection = connectionIn(session.connection);
      if (mustReopen(worker, session, error)) {
        connection?.destroy();
        session = undefined;
      } else if (connection && script.workerDo) await execute(connection, "ROLLBACK").catch(() => {}); // what it left open
      const verdict = script.workerDo ? verdictOfUnit(error) : verdictOf(error);
      // What inserts its ledger row has found that no earlier try has run.
      mayHaveRun = verdict === "unknown" || (mayHaveRun && !output.inserted);
      const isLeft = !script.workerDo && (await hasLeftChanges(session, verdict, error));
      if (session?.inTransaction) await checkTransaction(session, error);
      // With rows of it on their way, another try would give them twice.
      if (isLeft || !canRunAgain(claim, verdict, output, script) || (tries > data.retries && !output.elsewhere)) {
        if (error instanceof LedgerError) endRun("refused", error.message);
        if (mayHaveRun && data.ledger !== undefined) {
          session ??= await open(worker, script);
          const recorded = session && (await lookUp(claim, session, data.ledger));
          if (recorded) {
            end(worker, claim, "done", start, output.rows);
            return session;
          }
          // Only of a row that was inserted, not of one that may be yet to come, does its absence tell.
          mayHaveRun = recorded === undefined || !output.inserted || output.loose;
        }
        fail(worker, claim, mayHaveRun ? "unknown" : "failed", start, cause);
        return session ?? open(worker, script);
      }
      if (verdict === "retry") await pause(backoffMs(tries));
      if (!isDraining()) session ??= await open(worker, script);
    }
  }
  giveUp(worker, claim, mayHaveRun, start, cause);
  return session;
}

/** Whether a query is to be sent again after a failed try. */
function canRunAgain({ segment, index }: Claim, verdict: Verdict, output: Output, { workerDo }: Script): boolean {
  if (verdict === "failed" || output.rows > 0) return false;
  if (data.idempotent) return true;
  if (verdict === "unknown") return data.ledger !== undefined && !output.loose;
  // The server has not applied the statement that failed; of a compound one it may have applied others. The ledger has seen to that.
  return (
    verdict === "reconnect" || workerDo !== undefined || data.ledger !== undefined || isAtomic(segment.unit(index))
  );
}

/** Whether the server could not undo all of a failed try: what it did to tables without transactions stays. */
export async function hasLeftChanges(
  session: Session | undefined,
  verdict: Verdict,
  error: DatabaseError,
): Promise<boolean> {
  const connection = connectionIn(session?.connection);
  if (!connection || verdict !== "retry" || data.idempotent || data.ledger !== undefined) return false;
  let hasLeft = false;
  const onWarning = ([, code]: unknown[]) => {
    hasLeft ||= Number(code) === 1196; // ER_WARNING_NOT_COMPLETE_ROLLBACK
    return true;
  };
  await execute(connection, "SHOW WARNINGS", { onResult: () => onWarning }).catch(() => {});
  if (hasLeft) Object.assign(error, { message: `${error.message}; what it did to tables without transactions stays` });
  return hasLeft;
}

/** Ends the run when an error has rolled back a whole transaction that earlier queries belong to. */
export async function checkTransaction(session: Session, { message }: DatabaseError): Promise<void> {
  const connection = connectionIn(session.connection)!;
  await execute(connection, "DO 0").catch(() => {}); // its answer tells whether a transaction is open
  session.inTransaction = isInTransaction(connection);
  if (!session.inTransaction) endRun("broken", `Cannot go on: a transaction that was open is rolled back: ${message}`);
}

/** A claimed query that this worker cannot run any more: another one may, unless the run ends. */
export function giveUp(worker: number, claim: Claim, mayHaveRun: boolean, start: number, cause?: unknown): void {
  if (!isDraining()) claim.segment.reopen(claim.index, mayHaveRun);
  else if (mayHaveRun) fail(worker, claim, "unknown", start, cause ?? new Error("Its thread died"));
  else end(worker, claim, "skipped", start, 0);
}

/** Whether the ledger has a query; `undefined` when it does not answer. */
function lookUp({ segment, index }: Claim, session: Session, ledger: string): Promise<boolean | undefined> {
  const query = segment.unit(index) as Query;
  return isRecorded(connectionIn(session.connection)!, query, ledger, segment.seq(index)).catch(() => undefined);
}

/** A `workerDo()` may have sent something before the error of its last statement. */
function verdictOfUnit(error: DatabaseError) {
  const verdict = verdictOf(error);
  return verdict === "reconnect" ? "unknown" : verdict;
}

/** Ends a query that has no more to be tried. */
export function fail(worker: number, claim: Claim, outcome: "failed" | "unknown", start: number, cause: unknown): void {
  post({ type: "error", seq: claim.segment.seq(claim.index), error: plain(cause) });
  end(worker, claim, outcome, start, 0);
}

/** Writes the outcome into the query's record: nothing else is done for it after that. */
export function end(worker: number, claim: Claim, outcome: Outcome, start: number, rows: number): void {
  sendRows();
  claim.segment.end(claim.index, outcome, performance.now() - start, rows);
  if (outcome !== "skipped") counters.add(worker, outcome);
}

/** Runs one query once, within the time limit if there is one. */
async function attempt(
  worker: number,
  claim: Claim,
  session: Session,
  { workerDo }: Script,
  output: Output,
): Promise<unknown> {
  const { segment, index } = claim;
  const connection = connectionIn(session.connection);
  inFlight[worker] = connection;
  let interrupting: Promise<void> | undefined;
  const timer =
    connection &&
    data.timeoutMs &&
    setTimeout(() => {
      interrupting = interruptRunning([connection]);
    }, data.timeoutMs);
  try {
    const unit = segment.unit(index);
    if (workerDo) return await workerDo(unit, session.connection);
    if (data.batch > 1) {
      const sql = typeof unit === "string" ? unit : (unit as { sql: string }).sql;
      if (sql.includes(";")) await checkOneStatement(connection!, sql);
    }
    const seq = segment.seq(index);
    const listener: ResultListener = data.rows
      ? { onResult: (_, fields) => rowTaker(claim, connection!, output, fields) }
      : none;
    if (data.ledger === undefined) {
      const rows = await execute(connection!, unit as Query, listener);
      const statement = sessionStatement(unit);
      if (statement) post({ type: "set", statement });
      session.lasting ??= lastingStatement(unit);
      session.inTransaction = isInTransaction(connection!);
      return rows;
    }
    return await executeOnce(connection!, unit as Query, data.ledger, seq, output, listener);
  } catch (error) {
    if (interrupting && error instanceof Error) error.message += ` (time limit of ${data.timeoutMs! / 1000} s)`;
    throw error;
  } finally {
    inFlight[worker] = undefined;
    clearTimeout(timer || undefined);
    await interrupting;
  }
}

const none: ResultListener = {};

/** Encodes the rows of one query for the parent. */
export function rowTaker(
  { segment, index }: Claim,
  connection: Connection,
  output: { rows: number },
  fields: FieldPacket[],
): (row: unknown[]) => boolean {
  const encode = rowEncoder(segment.seq(index), fields);
  return (row) => {
    if (output.rows++ === 0) segment.noteRows(index);
    return addRows(encode(row), connection);
  };
}
