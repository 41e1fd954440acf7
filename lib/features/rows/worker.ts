/** Sends rows to the parent, and pauses the connections while it is slow. */
import type { Connection } from "mysql2";
import type { Column, RowSink } from "../../mysql/command.ts";
import type { WorkerFeature } from "../../worker/feature.ts";
import type { Job } from "../../worker/job.ts";
import type { RowsTaker } from "../../worker/rows-taker.ts";
import { rowEncoder } from "./rows.ts";

export const feature: WorkerFeature = {
  extend(thread) {
    const rows = rowsOut((lines) => thread.postFeature("rows", lines, [lines.buffer as ArrayBuffer]));
    thread.rows = rows;
    thread.onFeature.set("rows", (bytes) => rows.consumed(bytes as number));
  },
};

/** Characters after which rows are sent. They are also sent at the end of each query. */
const pieceLength = 1 << 16;
/** Bytes in flight to the parent at which the queries wait. */
const mostUntaken = 1 << 20;

function rowsOut(send: (lines: Uint8Array) => void): RowsTaker & { consumed(bytes: number): void } {
  const paused = new Set<Connection>();
  const unstoppable = new Set<Connection>();
  let collected = "";
  let untaken = 0;
  const isFull = () => untaken >= mostUntaken;
  return {
    isWanted: true,
    get isFull() {
      return isFull();
    },
    listener(jobs, connection) {
      const jobOf = (index: number) => (jobs.length === 1 ? jobs[0]! : jobs[index]!);
      return { onResult: (index, columns) => taker(jobOf(index), connection, columns) };
    },
    flush,
    /** Notes that the parent has taken `bytes` bytes. */
    consumed(bytes) {
      untaken -= bytes;
      // Resumes all connections, but only below the limit. A resumed connection delivers everything it has buffered.
      if (isFull()) return;
      const resuming = [...paused];
      paused.clear(); // before the loop, in which a connection may be paused again
      for (const connection of resuming) connection.resume();
    },
    unstop(connection) {
      unstoppable.add(connection);
      paused.delete(connection);
      connection.resume();
    },
    mayStop: (connection) => unstoppable.delete(connection),
  };

  function taker(job: Job, connection: Connection, columns: readonly Column[]): RowSink {
    const encode = rowEncoder(job.seq, columns);
    return (row) => {
      if (job.rows++ === 0) job.noteRows();
      collected += encode(row);
      if (collected.length < pieceLength) return true;
      flush();
      if (!isFull() || unstoppable.has(connection)) return true;
      paused.add(connection);
      return false;
    };
  }

  /** Sends the collected lines. */
  function flush(): void {
    if (collected === "") return;
    const lines = new TextEncoder().encode(collected);
    untaken += lines.length; // before the transfer, after which its length is 0
    collected = "";
    send(lines);
  }
}
