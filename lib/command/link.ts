/**
 * A connection for the command's own statements. No worker uses it. It reconnects when it is lost. Every wait on it has a
 * timeout.
 */
import type { Connection, ConnectionOptions } from "mysql2";
import type { Gate } from "../mp.ts";
import { connect, withDeadline } from "../mysql/connection.ts";
import { type DatabaseError, isLost } from "../mysql/errors.ts";
import { executeText, toBytes } from "../mysql/execute.ts";
import { orWithoutTls } from "./probe.ts";

/** Timeout in ms for connecting and for each answer. A slower server counts as unreachable. */
const answerMs = 2000;
/** Pause in ms between two looks. */
const lookMs = 500;

/** Row as a map from the column's name in lower case to the value. */
export type Row = ReadonlyMap<string, string | null>;

export class Link {
  readonly #servers: ConnectionOptions[];
  #next = 0;
  readonly #tlsOptional: boolean;
  #connection: Connection | undefined;

  /**
   * @param servers one server, or several that are equivalent. After a loss, it connects to the next one.
   * @param tlsOptional true to connect without TLS to a server that does not offer it.
   */
  constructor(servers: readonly ConnectionOptions[], tlsOptional = false) {
    this.#servers = servers.map((server) => ({ ...server, connectTimeout: answerMs }));
    this.#tlsOptional = tlsOptional;
  }

  /** Runs a statement and returns its rows. Rejects with mysql2's error, or with ETIMEDOUT after `answerMs`. */
  async rows(text: string): Promise<Row[]> {
    this.#connection ??= await this.#connect();
    const connection = this.#connection;
    const rows: Row[] = [];
    const onResult: NonNullable<Parameters<typeof executeText>[2]["onResult"]> = (_, columns) => (row) => {
      rows.push(new Map(columns.map(({ name }) => [name.toLowerCase(), row.readLengthCodedString("utf8")])));
      return true;
    };
    try {
      await withDeadline(connection, answerMs, () => executeText(connection, [toBytes(text)], { onResult }));
      return rows;
    } catch (error) {
      const { errno = 0 } = error as DatabaseError;
      if (errno <= 0 || isLost(error as DatabaseError)) this.close();
      throw error;
    }
  }

  close(): void {
    this.#connection?.destroy();
    this.#connection = undefined;
  }

  #connect(): Promise<Connection> {
    const index = this.#next++ % this.#servers.length;
    return orWithoutTls(this.#servers[index]!, this.#tlsOptional, (server) => {
      this.#servers[index] = server;
      return connect(server);
    });
  }
}

/** Gate that polls something. `stop()` ends the polling. */
export interface Watch {
  readonly gate: Gate;
  stop(): void;
}

/** Gate that delegates to a watch, which can be replaced during the run. */
export class WatchSlot implements Gate {
  #watch: Watch | undefined;

  limit(ended: number, workers: number): number {
    return this.#watch?.gate.limit(ended, workers) ?? Number.POSITIVE_INFINITY;
  }

  get reason(): string | undefined {
    return this.#watch?.gate.reason;
  }

  replace(watch: Watch | undefined): void {
    this.#watch?.stop();
    this.#watch = watch;
  }
}

/** Calls `look` again and again, each time `lookMs` after the last call has ended. Ignores its errors. Returns a stop function. */
export function keepLooking(look: () => Promise<unknown>): () => void {
  let timer = setTimeout(again, lookMs);
  let isOver = false;
  return () => {
    isOver = true;
    clearTimeout(timer);
  };

  async function again(): Promise<void> {
    await look().catch(() => {});
    if (!isOver) timer = setTimeout(again, lookMs);
  }
}
