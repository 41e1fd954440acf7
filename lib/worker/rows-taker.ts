/** Who takes the rows of queries. */
import type { Connection } from "mysql2";
import type { ResultListener } from "../mysql/command.ts";
import type { Job } from "./job.ts";

export interface RowsTaker {
  readonly isWanted: boolean;
  /** True while no further query is to be started, as too many rows have not been taken yet. */
  readonly isFull: boolean;
  /** Listens to the results of jobs that are sent together, one result each; of one alone, such as a CALL, to all it has. */
  listener(jobs: readonly Job[], connection: Connection): ResultListener;
  /** Passes on what there is of the rows of a query that has ended. */
  flush(): void;
  /** Lets a connection wait no more, whatever is full: else it would not hear the server's answer to KILL QUERY. */
  unstop(connection: Connection): void;
  mayStop(connection: Connection): void;
}

const nobody: ResultListener = {};

/** Nobody wants rows: they are only counted. */
export const noRows: RowsTaker = {
  isWanted: false,
  isFull: false,
  listener: () => nobody,
  flush() {},
  unstop() {},
  mayStop() {},
};
