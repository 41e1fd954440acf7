/** Chooses the host that a worker connects to, waits for one, and moves back to the worker's own host when that answers again. */
import type { Connection, ConnectionOptions } from "mysql2";
import { connectionIn, type Host, nameOf, takeOver } from "../mysql/connection.ts";
import { backoffMs, type DatabaseError, isReadOnly, isTransient } from "../mysql/errors.ts";
import { reach } from "../mysql/reach.ts";
import { isStillReadOnly } from "../mysql/read-only.ts";
import { type PlainError, toPlain } from "../shared/messages.ts";
import type { Thread } from "./thread.ts";

/** Makes a worker's connection. `options` are mysql2 options that the run sets, with the `connectTimeout` in ms. */
export type WorkerInit = (host: Host | undefined, options: ConnectionOptions) => unknown;

/** Result of `workerInit()`. */
export interface Opened {
  readonly connection: unknown;
}

/** Schedule of a worker that is away from its own host. */
interface HomeTry {
  /** Time of the next try, by `performance.now()`. */
  readonly until: number;
  readonly tries: number;
}

/** Connect timeout in ms for the worker's own host while it has a working connection to another one. */
const homeTryMs = 3000;
/** Longest pause in ms between two tries. */
const homeBackoffMs = 60_000;

/** State of a worker whose server takes no writes. */
interface Refusal {
  readonly error: DatabaseError;
  /** Time at which the worker stops waiting for a server that takes writes, by `performance.now()`. */
  readonly until: number;
  /** The number of refusals since a server last took a query. */
  readonly times: number;
  /** True until the worker has waited. It sends no query before that. */
  isPending: boolean;
}

export class Hosts {
  /** Error that made the worker give up: no server took writes until the timeout. */
  gaveUp: PlainError | undefined;
  readonly #worker: number;
  readonly #thread: Thread;
  readonly #init: WorkerInit;
  /** Hosts in the order of this worker. `[undefined]` if the configuration alone names the server. */
  readonly #route: readonly (Host | undefined)[];
  /** Position of the worker's own host in the route. */
  #home = 0;
  /** Position of the host to try next. */
  #next = 0;
  /** Set while the worker is connected to a host that is not its own. */
  #away: HomeTry | undefined;
  #refusal: Refusal | undefined;

  constructor(worker: number, thread: Thread, init: WorkerInit) {
    this.#worker = worker;
    this.#thread = thread;
    this.#init = init;
    this.#route = routeOf(worker, thread.settings.hosts);
  }

  get isAway(): boolean {
    return this.#away !== undefined;
  }

  /** True while the next query must wait for a server that takes writes. */
  get isRefused(): boolean {
    return this.#refusal?.isPending === true;
  }

  /** Notes that the server takes no writes. The worker's timeout begins with the first refusal. */
  refuse(error: DatabaseError): void {
    const { until, times } = this.#refusal ?? { until: performance.now() + this.#timeoutMs, times: 0 };
    this.#refusal = { error, until, times: times + 1, isPending: true };
  }

  /** Notes that the server has taken a query, even if that has failed. */
  forgetRefusal(): void {
    this.#refusal = undefined;
  }

  /**
   * Returns true if error 1792 (a write in a read-only transaction) may come from the server's setting and not from the
   * session's. The first such error always may: the connection may be older than the server's present setting.
   */
  async isServers(error: DatabaseError, mysql: Connection): Promise<boolean> {
    return (
      error.errno === 1792 && (this.#refusal === undefined || isStillReadOnly(mysql, error, "GLOBAL", this.#timeoutMs))
    );
  }

  /**
   * Calls `workerInit()` for one host after the other, and for all of them again while one of the errors is transient. Pauses
   * only after every host has failed. After a refusal, a host that is still read-only counts as failed.
   *
   * @param kept a connection that must not be dropped. Waits for its server only.
   * @returns undefined if no host can be reached, or the run ends.
   */
  async open(kept: Opened | undefined): Promise<Opened | undefined> {
    const thread = this.#thread;
    const refusal = this.isRefused ? this.#refusal : undefined;
    const leftMs = refusal ? refusal.until - performance.now() : this.#timeoutMs;
    let isTold = false;
    const onWait = (error: DatabaseError) => {
      if (!isTold) thread.post({ type: "waiting", worker: this.#worker, error: toPlain(error) });
      isTold = true;
    };
    try {
      if (refusal && refusal.times > 1) {
        if (leftMs < 0) throw refusal.error;
        onWait(refusal.error);
        await thread.pause(backoffMs(refusal.times));
      }
      const opened = await reach((timeoutMs) => this.#tryNext(kept, timeoutMs), {
        hosts: kept ? 1 : this.#route.length,
        timeoutMs: leftMs,
        signal: thread.draining,
        mayPass: (error) => isTransient(error) || isReadOnly(error),
        onWait,
      });
      if (refusal && isReadOnly(refusal.error)) {
        this.#home = this.#next - 1; // a replica may stay one: do not move back to it
        this.#away = undefined;
      }
      return opened;
    } catch (error) {
      const plain = toPlain(error);
      if (thread.isDraining) return undefined;
      if (!refusal) thread.post({ type: "workerGaveUp", worker: this.#worker, error: plain });
      // The session reports it after its query has ended: a ledger may have to be asked first.
      else this.gaveUp = { ...plain, message: `No server takes writes: ${plain.message}` };
      return undefined;
    } finally {
      if (refusal) refusal.isPending = false;
      if (isTold) thread.post({ type: "waited", worker: this.#worker });
    }
  }

  /** Tries to connect to the worker's own host if it is away and the next try is due. Returns undefined if it stays away. */
  async goHome(): Promise<Opened | undefined> {
    if (!this.#away || this.#thread.isDraining || performance.now() < this.#away.until) return undefined;
    const { tries } = this.#away;
    try {
      const opened = await this.#connect(this.#home, homeTryMs);
      this.#next = this.#home + 1;
      return opened;
    } catch (cause) {
      this.report(cause, this.#home);
      this.#away = nextHomeTry(tries + 1);
      return undefined;
    }
  }

  /** Reports to the parent that one of several hosts is down. Returns the error with the host's name. */
  report(cause: unknown, at = this.#next - 1): DatabaseError {
    const host = this.#route[at % this.#route.length];
    if (!host) return cause as DatabaseError;
    const { message, ...error } = toPlain(cause);
    const named = Object.assign(new Error(`${nameOf(host)}: ${message}`), error);
    if (this.#route.length > 1) this.#thread.post({ type: "hostDown", host: nameOf(host), error: toPlain(named) });
    return named;
  }

  /** Connects to the next host, or asks the server of `kept` whether it takes writes. @throws DatabaseError with the host's name. */
  async #tryNext(kept: Opened | undefined, timeoutMs: number): Promise<Opened> {
    const at = kept ? this.#next - 1 : this.#next++;
    try {
      if (!kept) return await this.#connect(at, timeoutMs);
      await this.#checkWritable(connectionIn(kept.connection)!, "GLOBAL");
      return kept;
    } catch (cause) {
      throw this.report(cause, at);
    }
  }

  async #connect(at: number, connectTimeout: number): Promise<Opened> {
    const host = this.#route[at % this.#route.length];
    const connection = await this.#init(host, { connectTimeout });
    const mysql = connectionIn(connection);
    if (mysql) {
      try {
        await takeOver(mysql, this.#timeoutMs);
        await this.#checkWritable(mysql, "SESSION");
      } catch (error) {
        mysql.destroy();
        throw error;
      }
    }
    this.#thread.post({ type: "connected", worker: this.#worker, host: host && nameOf(host) });
    this.#away = (at - this.#home) % this.#route.length === 0 ? undefined : nextHomeTry(0);
    return { connection };
  }

  /** @throws DatabaseError of the pending refusal, if this server is still read-only. */
  async #checkWritable(mysql: Connection, scope: "SESSION" | "GLOBAL"): Promise<void> {
    const { error, isPending } = this.#refusal ?? {};
    if (error && isPending && (await isStillReadOnly(mysql, error, scope, this.#timeoutMs))) throw error;
  }

  get #timeoutMs(): number {
    return this.#thread.settings.connectTimeoutMs;
  }
}

/**
 * Returns the route of a worker. Worker 1 begins at the first host, worker 2 at the second, and so on. Workers that begin at
 * the same host have different second hosts, which spreads them when it goes down.
 */
function routeOf(worker: number, hosts: readonly Host[]): (Host | undefined)[] {
  const at = (worker - 1) % hosts.length;
  const others = [...hosts.slice(at + 1), ...hosts.slice(0, at)];
  const turn = Math.floor((worker - 1) / hosts.length) % others.length;
  return [hosts[at], ...others.slice(turn), ...others.slice(0, turn)];
}

/** Schedules the next try of the worker's own host: with backoff, from a few seconds up to `homeBackoffMs`. */
function nextHomeTry(tries: number): HomeTry {
  return { until: performance.now() + backoffMs(6 + tries, homeBackoffMs), tries };
}
