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

/** Something that is looked at again and again, and may be a reason to hold all queries back. */
export interface Watch {
  readonly reason: string | undefined;
  stop(): void;
}

interface Watched {
  /** First look. Its error is thrown. @default `look` */
  begin?(): Promise<void>;
  /** Its errors are ignored. */
  look(): Promise<void>;
  /** Returns the reason as of the last look. */
  reason(): string | undefined;
  /** Is called at the end, and once more after a look that was under way, which may have connected again. */
  close(): void;
}

/** Looks for the first time, and then each time `lookMs` after the last look has ended. */
export async function watch({ look, begin = look, reason, close }: Watched): Promise<Watch> {
  let isOver = false;
  await begin().catch((error) => {
    close();
    throw error;
  });
  let timer = setTimeout(again, lookMs);
  return {
    get reason() {
      return reason();
    },
    stop() {
      isOver = true;
      clearTimeout(timer);
      close();
    },
  };

  async function again(): Promise<void> {
    await look().catch(() => {});
    if (isOver) close();
    else timer = setTimeout(again, lookMs);
  }
}

/** Gate that admits nothing while one of its watches has a reason. */
export class WatchGate implements Gate {
  #watches: readonly Watch[] = [];
  #isOver = false;

  limit(ended: number): number {
    return this.reason === undefined ? Number.POSITIVE_INFINITY : ended;
  }

  get reason(): string | undefined {
    for (const { reason } of this.#watches) if (reason !== undefined) return reason;
    return undefined;
  }

  /** Replaces the watches once the new ones have begun. @throws the error of one that cannot begin, and then changes nothing. */
  async replace(begun: readonly Promise<Watch>[]): Promise<void> {
    const settled = await Promise.allSettled(begun);
    const watches = settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    const refused = settled.find((each) => each.status === "rejected");
    const isKept = !refused && !this.#isOver;
    for (const { stop } of isKept ? this.#watches : watches) stop();
    if (isKept) this.#watches = watches;
    if (refused) throw refused.reason;
  }

  stop(): void {
    this.#isOver = true;
    for (const { stop } of this.#watches) stop();
  }
}
