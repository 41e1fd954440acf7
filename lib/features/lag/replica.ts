/** Measures the lag of one replica. */
import type { QueryError } from "mysql2";
import { UsageError } from "../../command/errors.ts";
import type { Link, Row } from "../../command/link.ts";
import { reasonOf } from "../../command/probe.ts";
import { type Host, nameOf } from "../../mysql/connection.ts";
import { type DatabaseError, isTransient } from "../../mysql/errors.ts";
import { grantFor, isDenied } from "./grant.ts";
import type { Heartbeat } from "./heartbeat.ts";
import { channelOf, groupChannel, type Lag, lagInGroup, lagOf, unable } from "./status.ts";

interface ReplicaOptions {
  readonly beat?: Heartbeat | undefined;
  readonly channel?: string | undefined;
}

export class Replica {
  readonly name: string;
  readonly link: Link;
  lag: Lag = { seconds: 0 };
  /** True if the server answered the last look as a replica. */
  isThere = false;
  /** True if its lag is that of a member of a Group Replication. */
  isMember = false;
  readonly #host: Host;
  readonly #beat: Heartbeat | undefined;
  readonly #channel: string | undefined;
  /** Index of the statement that the server knows. */
  #statement = 0;

  constructor(host: Host, link: Link, { beat, channel }: ReplicaOptions) {
    this.name = shortName(host);
    this.link = link;
    this.#host = host;
    this.#beat = beat;
    this.#channel = channel;
  }

  /** Looks for the first time. @throws UsageError for an error that is not transient. */
  async begin(): Promise<void> {
    let lag: Lag | undefined;
    try {
      lag = await this.#measure();
    } catch (thrown) {
      const error = thrown as QueryError;
      if (error instanceof UsageError) throw error;
      if (isDenied(error)) throw new UsageError(await this.#whatHelps(error));
      if (!isTransient(error)) throw new UsageError(`--replicas: ${this.name}: ${reasonOf(error, this.#host)}`);
      this.#missing(error);
      return;
    }
    if (!lag) throw new UsageError(`--replicas: ${this.name} ${this.#noReplica}: its status is empty`);
    this.#take(lag);
  }

  async look(): Promise<void> {
    try {
      this.#take(await this.#measure());
    } catch (error) {
      this.#missing(error as QueryError);
    }
  }

  /** Returns the lag in words, or the reason why it is unknown. */
  describe(): string {
    const { seconds, why, queued } = this.lag;
    if (why !== undefined) return why;
    const rounded = seconds < 10 ? Number(seconds.toFixed(1)) : Math.round(seconds);
    return `is ${rounded} s behind${queued ? `, with ${queued} transactions queued` : ""}`;
  }

  #take(lag: Lag | undefined): void {
    this.isThere = lag !== undefined;
    this.lag = lag ?? unable(this.#noReplica);
  }

  #missing(error: QueryError): void {
    const isAsked = (error.errno ?? 0) > 0 && !isTransient(error);
    this.isThere = false;
    this.lag = unable(`${isAsked ? "cannot be asked" : "cannot be reached"}: ${reasonOf(error, this.#host)}`);
  }

  get #noReplica(): string {
    return this.#channel === undefined ? "is no replica" : `is no replica in the channel ${this.#channel}`;
  }

  /** Returns undefined for a server that is not a replica. */
  async #measure(): Promise<Lag | undefined> {
    if (this.#beat) return { seconds: await this.#beat.secondsBehind(this.link) };
    const wanted = this.#channel?.toLowerCase();
    const channels = (await this.#channels()).filter((row) => wanted === undefined || channelOf(row) === wanted);
    const [first, ...others] = channels.map(lagOf);
    if (first) return others.reduce((one, other) => (other.seconds > one.seconds ? other : one), first);
    if (statements[this.#statement] !== mysqlStatement || (wanted ?? groupChannel) !== groupChannel) return undefined;
    const lag = await lagInGroup(this.link);
    this.isMember = lag !== undefined;
    return lag;
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

  async #whatHelps(error: DatabaseError): Promise<string> {
    const privilege = this.#beat
      ? `SELECT ON ${this.#beat.table}`
      : `${this.#statement === 0 ? "SLAVE MONITOR" : "REPLICATION CLIENT"} ON *.*`;
    return `Cannot tell how far ${this.name} is behind: ${await grantFor(this.link, error, privilege)}`;
  }
}

export function shortName(host: Host): string {
  return host.port === 3306 ? host.host : nameOf(host);
}

const mysqlStatement = "SHOW REPLICA STATUS";
/** Statements of MariaDB, of MySQL from 8.0.22 on, and of MySQL before. Each returns all channels. */
const statements = ["SHOW ALL SLAVES STATUS", mysqlStatement, "SHOW SLAVE STATUS"];

const syntaxError = 1064; // ER_PARSE_ERROR
