/** Settings of a thread, and the messages between the parent and a thread in both directions. */
import { inspect } from "node:util";
import type { Host } from "../mysql/connection.ts";
import { withCauses } from "./causes.ts";
import type { WarnedQuery } from "./counters.ts";
import type { StartFiles } from "./feature-entry.ts";

/** Settings of a thread at its start, its `workerData`. */
export interface Settings extends StartFiles {
  readonly myglobals: unknown;
  /** Numbers of the workers that this thread carries, counted from 1. */
  readonly workers: readonly number[];
  /** URL of the module whose `workerInit` and `workerDo` replace the default ones. */
  readonly script: string | undefined;
  /** True if there is one worker in all. Queries may then read what earlier ones have set. */
  readonly isOnlyWorker: boolean;
  /** True if the only worker's thread has died and this one replaces it. What was set on its connection is lost. */
  readonly isRenewed: boolean;
  readonly counters: SharedArrayBuffer;
  /** Hosts to connect to. Empty if only the configuration names the server. */
  readonly hosts: readonly Host[];
  readonly retries: number;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number | undefined;
  readonly idempotent: boolean;
  readonly maxFailures: number;
  readonly maxWarnings: number;
  /** Data of each feature for its part in the thread, by name. */
  readonly features: Readonly<Record<string, unknown>>;
  /** Statements of the session setup that have been read so far. */
  readonly sessionSetup: readonly SetupStatement[];
}

/** A statement that runs on every connection: a session statement at the top of the input, or `--init-command`. */
export interface SetupStatement {
  /** Position in the input. 0 for an `--init-command`. */
  readonly seq: number;
  readonly sql: string | Uint8Array;
  /** Place and beginning of the statement, for messages. */
  readonly from: string;
}

export type ToThread =
  | { readonly type: "segment"; readonly shared: SharedArrayBuffer }
  /** One more statement of the session setup. It comes before the segments with the queries that follow it. */
  | { readonly type: "setupStatement"; readonly statement: SetupStatement }
  /** Data for a feature's part in the thread. */
  | { readonly type: "feature"; readonly name: string; readonly data: unknown }
  /** More queries can be claimed. */
  | { readonly type: "admitted" }
  /** `drain`: start no further query. `kill`: interrupt the queries in flight. `end`: all is done, close the connections. */
  | { readonly type: "drain" | "kill" | "end" };

export type FromThread =
  /** The thread will not read the segment with this id again. */
  | { readonly type: "segmentLeft"; readonly id: number }
  /** The script has no `workerDo()`. The run counts queries, not units. */
  | { readonly type: "queries" }
  | { readonly type: "connected"; readonly worker: number; readonly host: string | undefined }
  /** The worker cannot connect to one of several hosts. */
  | { readonly type: "hostDown"; readonly host: string; readonly error: PlainError }
  /** The worker found nothing to claim. */
  | { readonly type: "idle" }
  /** The worker retries to reach a server. */
  | { readonly type: "waiting"; readonly worker: number; readonly error: PlainError }
  /** The worker has stopped waiting for a server. */
  | { readonly type: "waited"; readonly worker: number }
  /** The worker has given up. */
  | { readonly type: "workerGaveUp"; readonly worker: number; readonly error: PlainError }
  /** A query has changed the session of a connection of this thread, for example with `USE`. Other queries may depend on it. */
  | { readonly type: "sessionChanged"; readonly statement: string }
  /** The run cannot go on. `refused`: the caller gave something wrong. `broken`: something was lost with a connection. */
  | { readonly type: "refused" | "broken"; readonly reason: string }
  /** `KILL QUERY` came too late. The query is `done`. */
  | { readonly type: "killedTooLate"; readonly seq: number }
  /** A query with warnings, and their messages if the server returned them. */
  | { readonly type: "warned"; readonly query: WarnedQuery }
  /** A `workerDo()` has returned an impossible number of rows. Each thread reports it once. */
  | { readonly type: "oddRows"; readonly seq: number; readonly returned: number }
  /** Data for a feature's part in the parent. */
  | { readonly type: "feature"; readonly name: string; readonly data: unknown }
  | { readonly type: "error"; readonly seq: number; readonly error: PlainError };

/** The form of an error in messages. An Error itself loses its class and its `code` between threads. */
export interface PlainError {
  readonly message: string;
  /** Code of the server, mysql2 or Node, such as `ER_DUP_ENTRY`. Otherwise the class of the error. */
  readonly code: string;
  readonly errno?: number;
}

/** Converts any thrown value for a message. */
export function toPlain(thrown: unknown): PlainError {
  const error = toError(thrown);
  const { code = error.name, errno } = error;
  return { message: withCauses(error) || code, code, ...(errno !== undefined && { errno }) };
}

/**
 * Returns a thrown value as an Error with a text. A script may throw a value that is no Error, or an Error whose `message` is a
 * number, whose `code` is a function, or that throws when it is read.
 *
 * @param what text to put before that of a value that is no Error.
 */
export function toError(thrown: unknown, what = ""): Error & { code?: string; errno?: number; fatal?: boolean } {
  try {
    if (thrown instanceof Error) {
      const { message, code, errno, name } = thrown as unknown as Record<string, unknown>;
      const isSound =
        typeof message === "string" &&
        typeof name === "string" &&
        (code === undefined || typeof code === "string") &&
        (errno === undefined || typeof errno === "number");
      return isSound ? thrown : Object.assign(new Error(String(message)), typeof code === "string" && { code });
    }
    return new Error(what + (typeof thrown === "string" ? thrown : inspect(thrown)));
  } catch {
    return new Error(`${what}something that cannot be looked at`);
  }
}
