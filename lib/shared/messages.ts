/** What goes between the parent and a thread: the settings at its start, and the messages in both directions. */
import { inspect } from "node:util";
import type { Host } from "../mysql/connection.ts";
import { withCauses } from "./causes.ts";
import type { WarnedQuery } from "./counters.ts";
import type { StartFiles } from "./feature-entry.ts";

/** What a thread gets at its start, as `workerData`. */
export interface Settings extends StartFiles {
  readonly myglobals: unknown;
  /** The numbers of the workers that this thread carries, counted from 1. */
  readonly workers: readonly number[];
  /** URL of the module whose `workerInit` and `workerDo` replace the default ones. */
  readonly script: string | undefined;
  /** There is one worker in all: queries may read what earlier ones have set. */
  readonly isOnlyWorker: boolean;
  /** A thread with these workers has died: what was set on their connections is lost. */
  readonly isRenewed: boolean;
  readonly counters: SharedArrayBuffer;
  /** Where to connect to; empty when the configuration alone says it. */
  readonly hosts: readonly Host[];
  readonly retries: number;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number | undefined;
  readonly idempotent: boolean;
  readonly maxFailures: number;
  readonly maxWarnings: number;
  /** What each feature's part in the parent has for its part in the threads, by name. */
  readonly features: Readonly<Record<string, unknown>>;
  /** The prologue as far as it is known. */
  readonly prologue: readonly PrologueStatement[];
}

/** A statement that is run on every connection: a session statement at the top of the input, or `--init-command`. */
export interface PrologueStatement {
  /** The query's position in the input; 0 for one that is none of it. */
  readonly seq: number;
  readonly sql: string | Uint8Array;
  /** For people: where it stands, and its beginning. */
  readonly from: string;
}

export type ToThread =
  | { readonly type: "segment"; readonly shared: SharedArrayBuffer }
  /** The prologue has one more statement; comes before the segments with what follows it. */
  | { readonly type: "setupStatement"; readonly statement: PrologueStatement }
  /** For a feature's part in the thread. */
  | { readonly type: "feature"; readonly name: string; readonly data: unknown }
  /** More queries can be claimed. */
  | { readonly type: "admitted" }
  /** `drain`: start nothing more. `kill`: interrupt what is in flight. `end`: all is done, close the connections. */
  | { readonly type: "drain" | "kill" | "end" };

export type FromThread =
  /** The thread will not look again into the segment with this id. */
  | { readonly type: "segmentLeft"; readonly id: number }
  /** The script has a `workerDo()`: what is done are its units, and no queries. */
  | { readonly type: "units" }
  | { readonly type: "connected"; readonly worker: number; readonly host: string | undefined }
  /** One of several hosts does not let the worker in. */
  | { readonly type: "hostDown"; readonly host: string; readonly error: PlainError }
  /** `idle`: the worker found nothing to claim. `waiting`, `waited`, `workerGaveUp`: it tries again to get a server, has ended that, has given up. */
  | { readonly type: "idle" }
  | { readonly type: "waiting"; readonly worker: number; readonly error: PlainError }
  | { readonly type: "waited"; readonly worker: number }
  | { readonly type: "workerGaveUp"; readonly worker: number; readonly error: PlainError }
  /** A query has set something, such as `USE`, on a connection of this thread: others may depend on it. */
  | { readonly type: "sessionChanged"; readonly statement: string }
  /** The run cannot go on: as what it was given is not right, or as something was lost with a connection. */
  | { readonly type: "refused" | "broken"; readonly reason: string }
  /** The query was interrupted, and is done all the same. */
  | { readonly type: "killedTooLate"; readonly seq: number }
  /** A query with warnings, with their texts as far as they are known. */
  | { readonly type: "warned"; readonly query: WarnedQuery }
  /** A `workerDo()` has returned a number that no number of rows can be. A thread says so once. */
  | { readonly type: "oddRows"; readonly seq: number; readonly returned: number }
  /** For a feature's part in the parent. */
  | { readonly type: "feature"; readonly name: string; readonly data: unknown }
  | { readonly type: "error"; readonly seq: number; readonly error: PlainError };

/** An Error loses its class and its `code` on the way between threads: this travels instead. */
export interface PlainError {
  readonly message: string;
  /** The server's, mysql2's or Node's, such as `ER_DUP_ENTRY`; else the class of the error. */
  readonly code: string;
  readonly errno?: number;
}

/** What of an error can travel. */
export function toPlain(thrown: unknown): PlainError {
  const error = toError(thrown);
  const { code = error.name, errno } = error;
  return { message: withCauses(error) || code, code, ...(errno !== undefined && { errno }) };
}

/**
 * What was thrown as an error with a text, whatever it is: a script may throw no Error at all, or one whose `message` is a
 * number, whose `code` is a function, or that throws when it is looked at.
 *
 * @param what is put before the text of what is no Error.
 */
export function toError(thrown: unknown, what = ""): Error & { code?: string; errno?: number; fatal?: boolean } {
  try {
    if (thrown instanceof Error) {
      const { message, code, errno, name } = thrown as {
        message: unknown;
        code?: unknown;
        errno?: unknown;
        name: unknown;
      };
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
