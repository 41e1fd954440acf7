/** Several queries in one round trip, as one text of several statements, with the outcomes that each would have alone. */
import type { FieldPacket } from "mysql2";
import { connectionIn } from "./connection.ts";
import { execute, isInTransaction } from "./execute.ts";
import { type DatabaseError, verdictOf } from "./outcome.ts";
import { checkTransaction, end, fail, giveUp, hasLeftChanges, rowTaker, run } from "./run.ts";
import { mustReopen, open, type Script, type Session } from "./session.ts";
import { canShare, textOf } from "./statement.ts";
import { type Claim, claimNow, data, inFlight, isDraining } from "./thread.ts";

/** Claims up to `most` queries that can go together, beginning with `first`, and perhaps one more that cannot. */
export function claimBatch(worker: number, first: Claim, most: number): { together: Claim[]; alone?: Claim } {
  const together: Claim[] = [];
  for (let claim: Claim | undefined = first; claim; claim = together.length < most ? claimNow(worker) : undefined) {
    if (!canShare(claim.segment.unit(claim.index))) return { together, alone: claim };
    together.push(claim);
  }
  return { together };
}

/** Runs claimed queries together to their outcomes; returns the session to go on with, if there is one. */
export async function runBatch(
  worker: number,
  claims: Claim[],
  opened: Session,
  script: Script,
): Promise<Session | undefined> {
  let session: Session | undefined = opened;
  let rest = claims;
  let isUnsure = false;
  const mayHaveRun = ({ segment, index }: Claim) => isUnsure || segment.mayHaveRun(index);
  let cause: unknown;
  while (rest.length > 1 && session && !isDraining()) {
    const sent: Claim[] = rest;
    const start = performance.now();
    const output = { rows: 0 }; // of the query that is being answered
    let answered = 0;
    try {
      await attemptAll(worker, sent, session, output, (rows) => {
        end(worker, sent[answered++]!, "done", start, rows);
        output.rows = 0;
      });
      if (answered < sent.length) throw new Error("The server gave fewer results than there were queries");
      return session;
    } catch (thrown) {
      cause = thrown;
      rest = sent.slice(answered);
      const error = cause as DatabaseError;
      if (mustReopen(worker, session, error)) {
        connectionIn(session.connection)?.destroy();
        session = isDraining() ? undefined : await open(worker, script);
      }
      const verdict = verdictOf(error);
      if (verdict === "unknown" && !data.idempotent) {
        for (const claim of rest) fail(worker, claim, "unknown", start, cause); // each of them may have run
        return session;
      }
      isUnsure ||= verdict === "unknown";
      const isLeft = await hasLeftChanges(session, verdict, error);
      if (session?.inTransaction) await checkTransaction(session, error);
      // With rows of it on their way, another try would give them twice.
      if (isLeft || verdict === "failed" || output.rows > 0 || data.retries === 0) {
        const claim = rest.shift()!;
        fail(worker, claim, mayHaveRun(claim) ? "unknown" : "failed", start, cause);
      } else if (session && !isDraining()) {
        const claim = rest.shift()!;
        session = await run(worker, claim, session, script, mayHaveRun(claim), 1);
      }
    }
  }
  for (const claim of rest) {
    if (session && !isDraining()) session = await run(worker, claim, session, script, mayHaveRun(claim));
    else giveUp(worker, claim, mayHaveRun(claim), performance.now(), cause);
  }
  return session;
}

/** Sends the queries as one text and calls `done` for each that the server has answered, in order. */
async function attemptAll(
  worker: number,
  claims: readonly Claim[],
  session: Session,
  output: { rows: number },
  done: (rows: number) => void,
): Promise<void> {
  const connection = connectionIn(session.connection)!;
  const addTry = (at: number) => claims[at]?.segment.addTry(claims[at].index);
  inFlight[worker] = connection;
  addTry(0);
  try {
    await execute(connection, claims.map(({ segment, index }) => textOf(segment.unit(index))).join(";\n"), {
      onDone(at, rows) {
        done(rows);
        addTry(at + 1);
      },
      ...(data.rows && {
        onResult: (at: number, fields: FieldPacket[]) => rowTaker(claims[at]!, connection, output, fields),
      }),
    });
  } finally {
    inFlight[worker] = undefined;
    session.inTransaction = isInTransaction(connection);
  }
}
