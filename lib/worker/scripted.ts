/** A unit of work that a script's own `workerDo()` does, and what it must not leave behind. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Connection } from "mysql2";
import { bytesSent, isBusy } from "../mysql/connection.ts";
import { type DatabaseError, isLost, verdictOf } from "../mysql/errors.ts";
import { isInTransaction } from "../mysql/server-state.ts";
import { toError } from "../shared/messages.ts";
import { placeOf } from "../shared/place.ts";
import { checkWhole } from "../shared/query.ts";
import type { Executor } from "./executor.ts";
import type { Session } from "./session.ts";
import type { Thread } from "./thread.ts";

/** Does one unit of work; the signal is aborted when the time is up. Returns how many rows it concerned, if it likes. */
export type WorkerDo = (unit: unknown, connection: unknown, options: { readonly signal: AbortSignal }) => unknown;

/** Has a script do each unit of work. It may have sent something before the error of its last statement. */
export function scripted(thread: Thread, workerDo: WorkerDo): Executor {
  const { idempotent } = thread.settings;
  return {
    maxBatch: 1,
    canBatch: () => false,
    commits: true,
    async attempt([job], session, done, signal = never) {
      const { mysql } = session;
      const bytesBefore = mysql && bytesSent(mysql);
      const { unit } = job!;
      checkWhole(unit);
      let rows: unknown;
      try {
        rows = await workerDo(unit, session.connection, { signal });
      } catch (thrown) {
        throw placed(toError(thrown, "workerDo() rejected with "));
      }
      if (mysql) await checkEnded(mysql, session, bytesBefore!, thread);
      done(typeof rows === "number" && Number.isFinite(rows) ? rows : 0);
    },
    async judge(_, error, session) {
      if (session.mysql && !isLost(error)) await session.ask("ROLLBACK").catch(() => {}); // what it left open
      const verdict = verdictOf(error);
      if (verdict === "failed") return { retry: "no" };
      if (verdict === "retry") return { retry: "counted", waits: true };
      return { mayHaveRun: true, retry: idempotent ? "counted" : "no" };
    },
  };
}

/** The error with the line of the script that threw it; the server's and mysql2's say enough. */
function placed(error: ReturnType<typeof toError>): DatabaseError {
  try {
    const place = "sqlState" in error || "fatal" in error ? undefined : placeOf(error);
    if (place === undefined) return error;
    const { name, message, code = name, errno } = error;
    const line = place.replace(/:\d+$/, "");
    return Object.assign(new Error(`${message || name} (${line})`), { code, ...(errno !== undefined && { errno }) });
  } catch {
    return error; // it cannot be looked at
  }
}

const never = new AbortController().signal;

/**
 * Looks whether everything that was sent has ended and is committed; a round trip, where something was sent.
 *
 * @throws Error that says what to do.
 */
async function checkEnded(mysql: Connection, session: Session, bytesBefore: number, thread: Thread): Promise<void> {
  if (isBusy(mysql)) {
    thread.unitsAwaited++;
    await session.ask("DO 0").finally(nextTurn); // what was sent ends before this
    thread.unitsAwaited--;
    throw leftBehind("workerDo() returned before its query ended: await it");
  }
  if (bytesSent(mysql) === bytesBefore) return;
  await session.ask("DO 0");
  if (isInTransaction(mysql)) throw leftBehind("workerDo() left a transaction open: COMMIT it");
}

function leftBehind(message: string): DatabaseError {
  return Object.assign(new Error(message), { code: "LEFT_BEHIND" });
}
