/** A connection of the command's own, beside the workers': it is kept, made anew when it was lost, and every wait on it is bounded. */
import type { Connection, ConnectionOptions } from "mysql2";
import type { Gate } from "../mp.ts";
import { connect, within } from "../mysql/connection.ts";
import { type DatabaseError, isLost } from "../mysql/errors.ts";
import { executeText, toBytes } from "../mysql/execute.ts";

/** A server that takes longer to let us in, or to answer, counts as one that is not there. */
const answerMs = 2000;
/** From the end of one look to the beginning of the next. */
const lookMs = 500;

/** Values by the name of their column, in lower case. */
export type Row = ReadonlyMap<string, string | null>;

export class Link {
  readonly #servers: ConnectionOptions[];
  #next = 0;
  readonly #tlsOptional: boolean;
  #connection: Connection | undefined;

  /**
   * @param servers one, or several of which any will do: the next one is tried when one is lost.
   * @param tlsOptional their `ssl` is for a server that offers TLS.
   */
  constructor(servers: readonly ConnectionOptions[], tlsOptional = false) {
    this.#servers = servers.map((server) => ({ ...server, connectTimeout: answerMs }));
    this.#tlsOptional = tlsOptional;
  }

  /** Runs a statement; rejects with mysql2's error, and with ETIMEDOUT when the server does not answer. */
  async rows(text: string): Promise<Row[]> {
    this.#connection ??= await this.#connect();
    const connection = this.#connection;
    const rows: Row[] = [];
    const onResult: NonNullable<Parameters<typeof executeText>[2]["onResult"]> = (_, columns) => (row) => {
      rows.push(new Map(columns.map(({ name }) => [name.toLowerCase(), row.readLengthCodedString("utf8")])));
      return true;
    };
    try {
      await within(connection, answerMs, () => executeText(connection, [toBytes(text)], { onResult }));
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

  async #connect(): Promise<Connection> {
    const index = this.#next++ % this.#servers.length;
    const server = this.#servers[index]!;
    try {
      return await connect(server);
    } catch (error) {
      if (!this.#tlsOptional || (error as DatabaseError).code !== "HANDSHAKE_NO_SSL_SUPPORT") throw error;
      const { ssl: _, ...plain } = server;
      this.#servers[index] = plain;
      return connect(plain);
    }
  }
}

/** A gate that looks at something again and again, and what ends that. */
export interface Watch {
  readonly gate: Gate;
  stop(): void;
}

/** A gate that does what a watch says, which can be replaced while the run goes on. */
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

/** Calls `look` again and again, once the last call has ended; returns what ends that. A look that fails is its own affair. */
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
