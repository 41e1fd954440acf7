/** A connection for lib's own statements. It reconnects when it is lost, as a worker's does. */
import { setTimeout as sleep } from "node:timers/promises";
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
import { reach } from "../mysql/reach.ts";
import type { Connecting } from "../shared/source-context.ts";

/** Default timeout of a statement in ms. A search in a large table may take long, because few rows may meet its condition. */
const hourMs = 3_600_000;
/** Largest `wait_timeout` in seconds that servers take on every operating system. */
const idleSeconds = 2_147_483;

export class Reconnecting {
  readonly #options: ConnectionOptions;
  readonly #route: readonly (Host | undefined)[];
  readonly #run: Connecting;
  readonly #who: string;
  /** Position in the route of the host to try next. */
  #at = 0;
  #connection: Connection | undefined;
  /** False for a connection that the caller gave. The caller closes it. */
  #isOwn = true;
  #isSetUp = false;
  readonly #stop = (): void => {
    if (this.#isOwn && this.#connection && isBusy(this.#connection))
      destroyWith(this.#connection, new Error("interrupted"));
  };

  /**
   * @param given options, or a connection. When that connection is lost, a new one is made from its configuration.
   * @param run connection settings of the run, and its signal to end.
   * @param who name of the connection's user, for messages.
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
   * Runs a statement, and runs it again on a new connection if this one is lost. The statement may run twice.
   *
   * @returns its rows.
   * @throws DatabaseError of the statement, Error if no connection can be made.
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
        if (tries > 1) await sleep(backoffMs(tries), undefined, { signal }).catch(() => {});
      }
    }
  }

  /** Closes the connection. The next one goes to another host, if there are several. */
  leave(): Promise<void> {
    this.#at++;
    return this.close();
  }

  /** Closes the connection, unless the caller gave it. The next statement makes a new one. */
  async close(): Promise<void> {
    if (!this.#isOwn || !this.#connection) return;
    const connection = this.#connection;
    this.#connection = undefined;
    this.#run.signal?.removeEventListener("abort", this.#stop);
    if (isClosed(connection)) connection.destroy();
    else await close(connection);
  }

  /** Tries one host after the other. Retries after a transient error until the connect timeout has passed. */
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
          signal,
          onWait: (error) => log(`${this.#who}: ${reasonOf(error)}: trying again for up to ${connectTimeoutSeconds} s`),
        },
      );
      this.#at--; // the next connection tries this host first
      this.#isOwn = true;
      this.#isSetUp = false;
      signal?.addEventListener("abort", this.#stop);
      return connection;
    } catch (error) {
      if (signal?.aborted) throw new Error("interrupted");
      throw new Error(`Cannot connect: ${reasonOf(error as DatabaseError)}`, { cause: error });
    }
  }

  /** Runs the setup statements of a new connection. */
  async #setUp(connection: Connection): Promise<void> {
    if (this.#isSetUp) return;
    const statements = [`SET SESSION wait_timeout = ${idleSeconds}`, ...(this.#isOwn ? this.#run.initCommands : [])];
    for (const statement of statements) await ask(connection, statement, this.#run.connectTimeoutSeconds * 1000);
    this.#isSetUp = true;
  }

  /** Returns true if the statement may succeed on another connection. */
  async #isUseless(connection: Connection, error: DatabaseError): Promise<boolean> {
    // ER_QUERY_INTERRUPTED: MySQL reports it for a killed query and for a killed connection. `DO 0` shows which one it is.
    if (error.errno === 1317) await ask(connection, "DO 0", this.#run.connectTimeoutSeconds * 1000).catch(() => {});
    return isLost(error) || isTransient(error) || isClosed(connection);
  }
}

/** Returns the options for another connection like this one. */
function optionsOf({ config }: Connection): ConnectionOptions {
  const { stream } = config;
  const kept = Object.fromEntries(keptOptions.map((name) => [name, config[name]]));
  return typeof stream === "function" ? { ...kept, stream } : kept;
}

const keptOptions = [
  ...(["host", "port", "socketPath", "localAddress", "database", "user", "passwordSha1", "ssl", "compress"] as const),
  ...(["password", "password2", "password3", "authPlugins", "enableCleartextPlugin"] as const),
];

/** Returns the hosts to try: all of the run if the options name one of these, or none. Otherwise only that of the options. */
function routeOf({ host, port = 3306, socketPath }: ConnectionOptions, hosts: readonly Host[]): (Host | undefined)[] {
  const at = hosts.findIndex((each) => each.host === host && each.port === port);
  if (at >= 0) return [...hosts.slice(at), ...hosts.slice(0, at)];
  return hosts.length > 0 && host === undefined && socketPath === undefined ? [...hosts] : [undefined];
}
