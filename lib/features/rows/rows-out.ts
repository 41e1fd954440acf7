/** Sends rows to the parent, and pauses the connections while it is slow. */
import type { Connection } from "mysql2";
import type { Column, ResultListener, RowSink } from "../../mysql/command.ts";
import type { Job } from "../../worker/job.ts";
import type { RowsTaker } from "../../worker/rows-taker.ts";
import { rowEncoder } from "./rows.ts";

/** Characters after which rows are sent. They are also sent at the end of each query. */
const pieceLength = 1 << 16;
/** Bytes in flight to the parent at which the queries wait. */
const mostUntaken = 1 << 20;

export class RowsOut implements RowsTaker {
  readonly isWanted = true;
  readonly #send: (lines: Uint8Array) => void;
  readonly #paused = new Set<Connection>();
  readonly #unstoppable = new Set<Connection>();
  #lines = "";
  #untaken = 0;

  constructor(send: (lines: Uint8Array) => void) {
    this.#send = send;
  }

  get isFull(): boolean {
    return this.#untaken >= mostUntaken;
  }

  listener(jobs: readonly Job[], connection: Connection): ResultListener {
    const jobOf = (index: number) => (jobs.length === 1 ? jobs[0]! : jobs[index]!);
    return { onResult: (index, columns) => this.#taker(jobOf(index), connection, columns) };
  }

  #taker(job: Job, connection: Connection, columns: readonly Column[]): RowSink {
    const encode = rowEncoder(job.seq, columns);
    return (row) => {
      if (job.rows++ === 0) job.noteRows();
      this.#lines += encode(row);
      if (this.#lines.length < pieceLength) return true;
      this.flush();
      if (!this.isFull || this.#unstoppable.has(connection)) return true;
      this.#paused.add(connection);
      return false;
    };
  }

  /** Sends the collected lines. */
  flush(): void {
    if (this.#lines === "") return;
    const lines = new TextEncoder().encode(this.#lines);
    this.#untaken += lines.length; // before the transfer, after which its length is 0
    this.#lines = "";
    this.#send(lines);
  }

  /** Notes that the parent has taken `bytes` bytes. */
  rowsConsumed(bytes: number): void {
    this.#untaken -= bytes;
    // Resumes all connections, but only below the limit. A resumed connection delivers everything it has buffered.
    if (this.isFull) return;
    const resuming = [...this.#paused];
    this.#paused.clear(); // before the loop, in which a connection may be paused again
    for (const connection of resuming) connection.resume();
  }

  unstop(connection: Connection): void {
    this.#unstoppable.add(connection);
    this.#paused.delete(connection);
    connection.resume();
  }

  mayStop(connection: Connection): void {
    this.#unstoppable.delete(connection);
  }
}
