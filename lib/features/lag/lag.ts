/** Holds queries back while a replica is too far behind. */
import type { QueryError } from "mysql2";
import type { Server } from "../../command/config.ts";
import { UsageError } from "../../command/errors.ts";
import { keepLooking, Link, type Row, type Watch } from "../../command/link.ts";
import { reasonOf } from "../../command/probe.ts";
import type { Gate } from "../../mp.ts";
import { type Host, nameOf } from "../../mysql/connection.ts";
import { type DatabaseError, isTransient } from "../../mysql/errors.ts";
import { Heartbeat } from "./heartbeat.ts";

export interface LagLimit {
  /** A replica may be so far behind; it is read each time, and may change. */
  seconds: number;
}

/** How far a replica is behind; for ever when nobody can tell, with the reason. */
interface Lag {
  readonly seconds: number;
  readonly why?: string;
}

/**
 * Admits nothing while one of the replicas is further behind than the limit, does not replicate or cannot be reached.
 *
 * @param source where the heartbeat is written; it is closed with the rest.
 * @param heartbeat the table of pt-heartbeat, `table` or `database.table`; without one, the replicas' own status is believed.
 * @returns the gate, and what ends its looking.
 * @throws UsageError for a server that is no replica, or may not be asked: with the GRANT that helps.
 */
export async function lagGate(
  { db, hosts, tlsOptional }: Server,
  limit: LagLimit,
  source: Link,
  heartbeat?: string,
): Promise<Watch> {
  const { database, ...account } = db; // which may not be allowed there
  const beat = heartbeat === undefined ? undefined : new Heartbeat(heartbeat, database, source);
  const replicas = hosts.map((host) => new Replica(host, new Link([{ ...account, ...host }], tlsOptional), beat));
  const stopLooking: (() => void)[] = [];
  const stop = () => {
    for (const end of stopLooking) end();
    for (const replica of replicas) replica.link.close();
    source.close();
  };
  try {
    await beat?.look();
    await Promise.all(replicas.map((replica) => replica.begin()));
  } catch (error) {
    stop();
    throw error;
  }
  if (beat) stopLooking.push(keepLooking(() => beat.look()));
  for (const replica of replicas) stopLooking.push(keepLooking(() => replica.look()));
  const gate: Gate = {
    limit: (ended) => (gate.reason === undefined ? Number.POSITIVE_INFINITY : ended),
    get reason() {
      const stale = beat?.staleness(limit.seconds);
      if (stale !== undefined) return `paused: ${stale}`;
      const worst = replicas.reduce((one, other) => (other.lag.seconds > one.lag.seconds ? other : one));
      if (worst.lag.seconds <= limit.seconds) return undefined;
      return `paused: ${worst.name} ${worst.lag.why ?? `is ${Math.round(worst.lag.seconds)} s behind`}`;
    },
  };
  return { gate, stop };
}

class Replica {
  readonly name: string;
  readonly link: Link;
  lag: Lag = { seconds: 0 };
  readonly #host: Host;
  readonly #beat: Heartbeat | undefined;
  /** Which of the statements the server knows. */
  #statement = 0;

  constructor(host: Host, link: Link, beat: Heartbeat | undefined) {
    this.name = host.port === 3306 ? host.host : nameOf(host);
    this.link = link;
    this.#host = host;
    this.#beat = beat;
  }

  /** The first look. @throws UsageError for what will not pass by itself. */
  async begin(): Promise<void> {
    try {
      this.lag = await this.#measure();
    } catch (thrown) {
      const error = thrown as QueryError;
      if (error instanceof UsageError) throw error;
      if (isDenied(error)) throw new UsageError(await this.#whatHelps(error));
      if (!isTransient(error)) throw new UsageError(`--replicas: ${this.name}: ${reasonOf(error, this.#host)}`);
      this.lag = missing(error, this.#host);
    }
    if (this.lag.why === noReplica) throw new UsageError(`--replicas: ${this.name} ${noReplica}: its status is empty`);
  }

  async look(): Promise<void> {
    this.lag = await this.#measure().catch((error) => missing(error, this.#host));
  }

  async #measure(): Promise<Lag> {
    if (this.#beat) return { seconds: await this.#beat.secondsBehind(this.link) };
    const channels = (await this.#channels()).map(lagOf);
    return channels.reduce(
      (one, other) => (other.seconds > one.seconds ? other : one),
      channels[0] ?? unable(noReplica),
    );
  }

  async #channels(): Promise<Row[]> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.link.rows(statements[this.#statement]!);
      } catch (error) {
        if ((error as DatabaseError).errno !== syntaxError || tries === statements.length) throw error;
        this.#statement = (this.#statement + 1) % statements.length;
      }
    }
  }

  async #whatHelps({ message }: DatabaseError): Promise<string> {
    const [row] = await this.link.rows("SELECT CURRENT_USER() AS account");
    const account = (row?.get("account") ?? "").replace(/^(.*)@(.*)$/, "'$1'@'$2'");
    // The server names what it wants, and each version something else: REPLICATION CLIENT, SLAVE MONITOR, REPLICA MONITOR.
    const named = /REPLICATION CLIENT|(?:SLAVE|REPLICA) MONITOR/.exec(message)?.[0];
    const privilege = this.#beat
      ? `SELECT ON ${this.#beat.table}`
      : `${named ?? (this.#statement === 0 ? "SLAVE MONITOR" : "REPLICATION CLIENT")} ON *.*`;
    return `Cannot tell how far ${this.name} is behind: ${message}: GRANT ${privilege} TO ${account}`;
  }
}

/** Of MariaDB, of MySQL from 8.0.22 on, and of MySQL before. Each gives all channels. */
const statements = ["SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE STATUS"];

const syntaxError = 1064; // ER_PARSE_ERROR
const noReplica = "is no replica";

/** Whether the account lacks a privilege. */
function isDenied({ errno }: DatabaseError): boolean {
  // ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR
  return errno === 1142 || errno === 1143 || errno === 1227;
}

/** A lag that nobody can tell. */
function unable(why: string): Lag {
  return { seconds: Number.POSITIVE_INFINITY, why };
}

function missing(error: QueryError, host: Host): Lag {
  const isThere = (error.errno ?? 0) > 0 && !isTransient(error);
  return unable(`${isThere ? "cannot be asked" : "cannot be reached"}: ${reasonOf(error, host)}`);
}

/** What a row of `SHOW REPLICA STATUS` says. */
function lagOf(row: Row): Lag {
  // The same in the words of all versions.
  const value = (name: string) =>
    row.get(name) ?? row.get(name.replace("replica", "slave").replace("source", "master")) ?? undefined;
  const channel = row.get("channel_name") || row.get("connection_name");
  const stopped = (thread: string, state: string | undefined, error: string | undefined) => {
    const does = state === "Connecting" ? "is connecting" : "does not run";
    return unable(
      `does not replicate: ${channel ? `channel ${channel}: ` : ""}its ${thread} thread ${does}${error ? `: ${error}` : ""}`,
    );
  };
  const sql = value("replica_sql_running");
  if (sql !== "Yes") return stopped("SQL", sql, value("last_sql_error"));
  const io = value("replica_io_running");
  const seconds = value("seconds_behind_source");
  if (io !== "Yes" || seconds === undefined) return stopped("I/O", io, value("last_io_error"));
  return { seconds: Number(seconds) };
}
