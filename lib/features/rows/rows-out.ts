/** The rows on their way to the parent, and the connections that wait while it is slow. */
import type { Connection } from "mysql2";
import type { Column, ResultListener, RowSink } from "../../mysql/command.ts";
import type { Job } from "../../worker/job.ts";
import type { RowsTaker } from "../../worker/rows-taker.ts";
import { rowEncoder } from "./rows.ts";

/** Rows are sent in pieces of about so many characters, and at the end of each query. */
const pieceLength = 1 << 16;
/** Bytes that may be on their way; then the queries wait. */
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

  /** Sends the lines that are there. */
  flush(): void {
    if (this.#lines === "") return;
    const lines = new TextEncoder().encode(this.#lines);
    this.#untaken += lines.length; // before it is transferred: then it has none
    this.#lines = "";
    this.#send(lines);
  }

  /** Notes that the parent has taken so many bytes. */
  rowsConsumed(bytes: number): void {
    this.#untaken -= bytes;
    // All at once, and below the limit only: one that is resumed gives at once all that it has read.
    if (this.isFull) return;
    const resuming = [...this.#paused];
    this.#paused.clear(); // before they go on: they may be paused again at once
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
