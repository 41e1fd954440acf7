/** Executor for a script's own `workerDo()`. Checks that it leaves no query and no transaction open. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Connection } from "mysql2";
import { isBusy, streamOf } from "../mysql/connection.ts";
import { stateOf } from "../mysql/connection-state.ts";
import { type DatabaseError, isLost, verdictOf } from "../mysql/errors.ts";
import { asksForRetry, withCauses } from "../shared/causes.ts";
import { toError } from "../shared/messages.ts";
import { placeOf } from "../shared/place.ts";
import { checkWhole } from "../shared/query.ts";
import type { Executor } from "./executor.ts";
import type { Session } from "./session.ts";
import type { Thread } from "./thread.ts";

/**
 * Does one unit of work.
 *
 * The error that it throws decides. After a `RetryError`, a deadlock or another transient error, the unit is tried again, at
 * most `--retries` times. A lost connection makes the unit `unknown`, or with `--idempotent` it is tried again. After any
 * other error the unit has failed.
 *
 * @returns the number of rows for the summary, a whole number. Anything else counts as 0.
 */
export type WorkerDo<Unit = unknown, Conn = Connection> = (
  unit: Unit,
  connection: Conn,
  options: WorkerDoOptions,
) => unknown;

export interface WorkerDoOptions {
  /** Aborted after `--timeout`, and by the second Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Creates the executor that calls a script's `workerDo()`. When that throws, earlier statements of the unit may have run. */
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
    isScripted: true,
    canBatch: () => false,
    commits: true,
    async attempt([job], session, done, limit) {
      const { mysql } = session;
      const bytesBefore = mysql && streamOf(mysql).bytesWritten;
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
    async classifyError(_, error, session) {
      if (session.mysql && !isLost(error)) await session.ask("ROLLBACK").catch(() => {}); // of what it left open
      if (asksForRetry(error)) return { retry: "counted", waits: true };
      const verdict = verdictOf(error);
      if (verdict === "failed") return { retry: "no" };
      if (verdict === "retry") return { retry: "counted", waits: true };
      return { mayHaveRun: true, retry: idempotent ? "counted" : "no" };
    },
  };
}

/** Adds the script's line to an error that it threw. Errors of the server and of mysql2 stay as they are. */
function placed(error: ReturnType<typeof toError>): DatabaseError {
  try {
    const place = "sqlState" in error || "fatal" in error ? undefined : placeOf(error);
    if (place === undefined) return error;
    const { name, code = name, errno } = error;
    const message = withCauses(error);
    const line = place.replace(/:\d+$/, "");
    return Object.assign(new Error(`${message || name} (${line})`), { code, ...(errno !== undefined && { errno }) });
  } catch {
    return error; // a getter of it throws
  }
}

/**
 * Checks that everything that `workerDo()` has sent has ended and is committed. Costs a round trip if it has sent something.
 *
 * @throws Error that tells the author of `workerDo()` what to do.
 */
async function checkEnded(mysql: Connection, session: Session, bytesBefore: number, thread: Thread): Promise<void> {
  if (isBusy(mysql)) {
    thread.unitsAwaited++;
    await session.ask("DO 0").finally(nextTurn); // answered after everything that was sent before
    thread.unitsAwaited--;
    throw leftBehind("workerDo() returned before its query ended: await it");
  }
  if (streamOf(mysql).bytesWritten === bytesBefore) return;
  await session.ask("DO 0");
  if (stateOf(mysql).isInTransaction) throw leftBehind("workerDo() left a transaction open: COMMIT it");
}

function leftBehind(message: string): DatabaseError {
  return Object.assign(new Error(message), { code: "LEFT_BEHIND" });
}
