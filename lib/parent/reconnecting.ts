/** A connection for statements of our own that reconnects when it is lost, as a worker's does. */
import type { Connection, ConnectionOptions } from "mysql2";
import {
  ask,
  close,
  connect,
  connectionIn,
  destroyWith,
  type Host,
  isBusy,
  isClosed,
  prepareConnection,
} from "../mysql/connection.ts";
import { backoffMs, type DatabaseError, isLost, isTransient } from "../mysql/errors.ts";
import { reach, untilAborted } from "../mysql/reach.ts";
import type { Connecting } from "../shared/reading.ts";

/** Timeout of a statement in ms, by default. Of a large table, few rows may meet a condition. */
const hourMs = 3_600_000;
/** The longest `wait_timeout` that a server takes on any system, in seconds. */
const idleSeconds = 2_147_483;

export class Reconnecting {
  readonly #options: ConnectionOptions;
  readonly #route: readonly (Host | undefined)[];
  readonly #run: Connecting;
  readonly #who: string;
  /** The position in the route of the host to try next. */
  #at = 0;
  #connection: Connection | undefined;
  /** False for a connection that somebody has given: it is theirs to close. */
  #isOwn = true;
  #isSetUp = false;
  readonly #stop = (): void => {
    if (this.#isOwn && this.#connection && isBusy(this.#connection))
      destroyWith(this.#connection, new Error("interrupted"));
  };

  /**
   * @param given options, or a connection: it is used as long as it lives. A new one is made from its configuration.
   * @param run what the workers of the run do when a connection is lost, and when the run ends.
   * @param who a person's word for whom the connection is.
   */
  constructor(given: Connection | ConnectionOptions, run: Connecting, who: string) {
    const connection = connectionIn(given);
    if (connection) {
      prepareConnection(connection);
      this.#connection = connection;
      this.#isOwn = false;
    }
    this.#options = connection ? optionsOf(connection) : (given as ConnectionOptions);
    this.#route = routeOf(this.#options, run.hosts);
    this.#run = run;
    this.#who = who;
  }

  /**
   * Runs a statement that may run twice, on a new connection if this one is lost.
   *
   * @returns its rows.
   * @throws DatabaseError of the statement, or of connecting.
   */
  async ask(text: string, answerMs = hourMs): Promise<(string | null)[][]> {
    const { signal, retries } = this.#run;
    for (let tries = 1; ; tries++) {
      this.#connection ??= await this.#connect();
      try {
        await this.#setUp(this.#connection);
        return await ask(this.#connection, text, answerMs);
      } catch (error) {
        const isOver = signal?.aborted || tries > retries;
        if (isOver || !(await this.#isUseless(this.#connection, error as DatabaseError))) throw error;
        if (this.#isOwn) this.#connection.destroy();
        this.#connection = undefined;
        if (tries > 1) await untilAborted(signal).pause(backoffMs(tries));
      }
    }
  }

  /** Closes the connection: the next one is to another host, if there are several. */
  leave(): Promise<void> {
    this.#at++;
    return this.close();
  }

  /** Closes the connection, unless it was given. The next statement makes a new one. */
  async close(): Promise<void> {
    if (!this.#isOwn || !this.#connection) return;
    const connection = this.#connection;
    this.#connection = undefined;
    this.#run.signal?.removeEventListener("abort", this.#stop);
    if (isClosed(connection)) connection.destroy();
    else await close(connection);
  }

  /** Tries one host after the other, and again if the error is a transient one, until the connect timeout has passed. */
  async #connect(): Promise<Connection> {
    const { connectTimeoutSeconds, signal, log } = this.#run;
    const reasonOf = ({ message, code }: DatabaseError) => message || code;
    try {
      const connection = await reach(
        (connectTimeout) => {
          const host = this.#route[this.#at++ % this.#route.length];
          return connect({ connectTimeout, ...this.#options, ...host }, signal);
        },
        {
          hosts: this.#route.length,
          timeoutMs: connectTimeoutSeconds * 1000,
          ...untilAborted(signal),
          onWait: (error) => log(`${this.#who}: ${reasonOf(error)}: trying again for up to ${connectTimeoutSeconds} s`),
        },
      );
      this.#at--; // the host that has let us in is the first one to try again
      this.#isOwn = true;
      this.#isSetUp = false;
      signal?.addEventListener("abort", this.#stop);
      return connection;
    } catch (error) {
      if (signal?.aborted) throw new Error("interrupted");
      throw new Error(`Cannot connect: ${reasonOf(error as DatabaseError)}`, { cause: error });
    }
  }

  /** Runs what a connection needs before its first statement. */
  async #setUp(connection: Connection): Promise<void> {
    if (this.#isSetUp) return;
    const statements = [`SET SESSION wait_timeout = ${idleSeconds}`, ...(this.#isOwn ? this.#run.initCommands : [])];
    for (const statement of statements) await ask(connection, statement, this.#run.connectTimeoutSeconds * 1000);
    this.#isSetUp = true;
  }

  /** Returns true if another connection may do better. */
  async #isUseless(connection: Connection, error: DatabaseError): Promise<boolean> {
    // ER_QUERY_INTERRUPTED: MySQL says the same of a killed query and of a killed connection.
    if (error.errno === 1317) await ask(connection, "DO 0", this.#run.connectTimeoutSeconds * 1000).catch(() => {});
    return isLost(error) || isTransient(error) || isClosed(connection);
  }
}

/** What makes another connection like this one. */
function optionsOf({ config }: Connection): ConnectionOptions {
  const { stream } = config;
  const kept = Object.fromEntries(keptOptions.map((name) => [name, config[name]]));
  return typeof stream === "function" ? { ...kept, stream } : kept;
}

const keptOptions = [
  ...(["host", "port", "socketPath", "localAddress", "database", "user", "passwordSha1", "ssl", "compress"] as const),
  ...(["password", "password2", "password3", "authPlugins", "enableCleartextPlugin"] as const),
];

/** The hosts to try. Any host of the run will do if the options name one of these or none. */
function routeOf({ host, port = 3306, socketPath }: ConnectionOptions, hosts: readonly Host[]): (Host | undefined)[] {
  const at = hosts.findIndex((each) => each.host === host && each.port === port);
  if (at >= 0) return [...hosts.slice(at), ...hosts.slice(0, at)];
  return hosts.length > 0 && host === undefined && socketPath === undefined ? [...hosts] : [undefined];
}
