/** A unit of work that a script's own `workerDo()` does, and what it must not leave behind. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Connection } from "mysql2";
import { bytesSent, isBusy } from "../mysql/connection.ts";
import { type DatabaseError, isLost, verdictOf } from "../mysql/errors.ts";
import { isInTransaction } from "../mysql/server-state.ts";
import { asksForRetry, withCauses } from "../shared/causes.ts";
import { toError } from "../shared/messages.ts";
import { placeOf } from "../shared/place.ts";
import { checkWhole } from "../shared/query.ts";
import type { Executor } from "./executor.ts";
import type { Session } from "./session.ts";
import type { Thread } from "./thread.ts";

/**
 * Does one unit of work; the signal is aborted when the time is up, or the run is to end at once.
 *
 * What it throws decides: a deadlock and the like, or a `RetryError`, is tried again, `--retries` times at most. A lost connection
 * makes the unit `unknown`, with `--idempotent` it is tried again. Whatever else it throws, the unit has failed.
 *
 * @returns how many rows it concerned, a whole number; anything else counts as none.
 */
export type WorkerDo<Unit = unknown, Conn = Connection> = (
  unit: Unit,
  connection: Conn,
  options: WorkerDoOptions,
) => unknown;

export interface WorkerDoOptions {
  /** Is aborted by `--timeout`, and when the run ends at once. */
  readonly signal: AbortSignal;
}

/** Has a script do each unit of work. It may have sent something before the error of its last statement. */
export function scripted(thread: Thread, workerDo: WorkerDo<unknown, unknown>): Executor {
  const { idempotent } = thread.settings;
  let hasToldOfRows = false;
  const rowsOf = (returned: unknown, seq: number): number => {
    if (typeof returned !== "number") return 0;
    if (Number.isSafeInteger(returned) && returned >= 0) return returned;
    if (!hasToldOfRows) thread.post({ type: "oddRows", seq, returned });
    hasToldOfRows = true;
    return 0;
  };
  return {
    maxBatch: 1,
    isAlone: true,
    canBatch: () => false,
    commits: true,
    async attempt([job], session, done, limit) {
      const { mysql } = session;
      const bytesBefore = mysql && bytesSent(mysql);
      const { unit } = job!;
      checkWhole(unit);
      const controller = new AbortController();
      const { signal } = controller;
      limit?.addEventListener("abort", () => controller.abort(limit.reason));
      thread.aborting.add(controller);
      let returned: unknown;
      try {
        returned = await workerDo(unit, session.connection, { signal });
      } catch (thrown) {
        throw signal.aborted && thrown === signal.reason
          ? thrown
          : placed(toError(thrown, "workerDo() rejected with "));
      } finally {
        thread.aborting.delete(controller);
      }
      if (mysql) await checkEnded(mysql, session, bytesBefore!, thread);
      done(rowsOf(returned, job!.seq));
    },
    async judge(_, error, session) {
      if (session.mysql && !isLost(error)) await session.ask("ROLLBACK").catch(() => {}); // what it left open
      if (asksForRetry(error)) return { retry: "counted", waits: true };
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
    const { name, code = name, errno } = error;
    const message = withCauses(error);
    const line = place.replace(/:\d+$/, "");
    return Object.assign(new Error(`${message || name} (${line})`), { code, ...(errno !== undefined && { errno }) });
  } catch {
    return error; // it cannot be looked at
  }
}

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
