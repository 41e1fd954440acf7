/** The receiver of result rows, such as `--rows`. By default there is none, and rows are only counted. */
import type { Connection } from "mysql2";
import type { ResultListener } from "../mysql/command.ts";
import type { Job } from "./job.ts";

export interface RowsTaker {
  readonly isWanted: boolean;
  /** True while too many rows wait for the parent. Workers then claim no query. */
  readonly isFull: boolean;
  /** Returns a listener for one round trip. Several jobs have one result each. A single job, such as a CALL, may have several. */
  listener(jobs: readonly Job[], connection: Connection): ResultListener;
  /** Passes on the buffered rows of a query that has ended. */
  flush(): void;
  /** Resumes a connection, and does not pause it even if `isFull`. Otherwise nobody would read the answer to KILL QUERY. */
  unstop(connection: Connection): void;
  /** Allows pausing the connection again. */
  mayStop(connection: Connection): void;
}

const nobody: ResultListener = {};

/** Receiver for a run whose rows nobody wants. */
export const noRows: RowsTaker = {
  isWanted: false,
  isFull: false,
  listener: () => nobody,
  flush() {},
  unstop() {},
  mayStop() {},
};
