/** Several queries in one round trip, as one text of several statements, with the outcomes that each would have alone. */
import { connectionIn, execute, interrupt } from "./connection.ts";
import { type DatabaseError, verdictOf } from "./outcome.ts";
import { rowEncoder } from "./rows.ts";
import { end, fail, run } from "./run.ts";
import { mustReopen, open, type Script, type Session } from "./session.ts";
import { canShare, textOf } from "./statement.ts";
import { addRows, type Claim, claimNow, counters, data, inFlight, isDraining, killGraceMs } from "./thread.ts";

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
  while (rest.length > 1 && session) {
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
    } catch (cause) {
      rest = sent.slice(answered);
      const error = cause as DatabaseError;
      if (mustReopen(worker, error)) {
        connectionIn(session.connection)?.destroy();
        session = await open(worker, script);
      }
      const verdict = verdictOf(error);
      if (verdict === "unknown" && (!data.idempotent || !session || isDraining() || output.rows > 0)) {
        for (const claim of rest) fail(worker, claim, "unknown", start, cause); // each of them may have run
        return session;
      }
      // With rows of it on their way, another try would give them twice.
      if (verdict === "failed" || output.rows > 0) fail(worker, rest.shift()!, "failed", start, cause);
      else {
        counters.add(worker, "retries");
        if (session) session = await run(worker, rest.shift()!, session, script);
      }
    }
  }
  for (const claim of rest) {
    if (session) session = await run(worker, claim, session, script);
    else end(worker, claim, "skipped", performance.now(), 0);
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
  inFlight.set(worker, connection);
  let interrupting: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  const limit = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      interrupting = interrupt([connection], killGraceMs);
    }, data.timeoutMs);
  };
  if (data.timeoutMs) limit();
  for (const { segment, index } of claims) segment.addTry(index);
  try {
    await execute(connection, claims.map(({ segment, index }) => textOf(segment.unit(index))).join(";\n"), {
      onDone(_, rows) {
        if (data.timeoutMs) limit();
        done(rows);
      },
      ...(data.rows && {
        onResult(at: number, fields: Parameters<typeof rowEncoder>[1]) {
          const { segment, index } = claims[at]!;
          const encode = rowEncoder(segment.seq(index), fields);
          return (row: unknown[]) => {
            output.rows++;
            return addRows(encode(row), connection);
          };
        },
      }),
    });
  } catch (error) {
    if (interrupting && error instanceof Error) error.message += ` (time limit of ${data.timeoutMs! / 1000} s)`;
    throw error;
  } finally {
    inFlight.delete(worker);
    clearTimeout(timer);
    await interrupting;
  }
}
