/** Chooses the host that a worker connects to, waits for one, and moves back to the worker's own host when that answers again. */
import type { Connection, ConnectionOptions } from "mysql2";
import { connectionIn, type Host, nameOf, takeOver } from "../mysql/connection.ts";
import { backoffMs, type DatabaseError, isReadOnly, isTransient } from "../mysql/errors.ts";
import { reach } from "../mysql/reach.ts";
import { isStillReadOnly } from "../mysql/read-only.ts";
import { type PlainError, toPlain } from "../shared/messages.ts";
import { type HomeTry, homeTryMs, nextHomeTry, type Route, routeOf } from "./route.ts";
import type { Thread } from "./thread.ts";

/** Makes a worker's connection. `options` are mysql2 options that the run sets, with the `connectTimeout` in ms. */
export type WorkerInit = (host: Host | undefined, options: ConnectionOptions) => unknown;

/** Result of `workerInit()`. */
export interface Opened {
  readonly connection: unknown;
}

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
  readonly #worker: number;
  readonly #thread: Thread;
  readonly #init: WorkerInit;
  readonly #route: Route;
  /** Position of the worker's own host in the route. */
  #home = 0;
  /** Position of the host to try next. */
  #next = 0;
  /** Set while the worker is connected to a host that is not its own. */
  #away: HomeTry | undefined;
  #refusal: Refusal | undefined;
  #gaveUp: PlainError | undefined;

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

  /** Error that made the worker give up: no server took writes until the timeout. */
  get gaveUp(): PlainError | undefined {
    return this.#gaveUp;
  }

  /** Notes that the server takes no writes. The worker's timeout begins with the first refusal. */
  refuse(error: DatabaseError): void {
    const { until, times } = this.#refusal ?? { until: this.#now + this.#timeoutMs, times: 0 };
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
    return error.errno === 1792 && (this.#refusal === undefined || this.#isReadOnly(error, mysql, "GLOBAL"));
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
    const leftMs = refusal ? refusal.until - this.#now : this.#timeoutMs;
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
      if (refusal && isReadOnly(refusal.error)) this.#stay(); // a replica may stay one: do not move back to it
      return opened;
    } catch (error) {
      if (!thread.isDraining) this.#giveUp(toPlain(error), refusal !== undefined);
      return undefined;
    } finally {
      if (refusal) refusal.isPending = false;
      if (isTold) thread.post({ type: "waited", worker: this.#worker });
    }
  }

  /** Tries to connect to the worker's own host if it is away and the next try is due. Returns undefined if it stays away. */
  async goHome(): Promise<Opened | undefined> {
    if (!this.#away || this.#thread.isDraining || this.#now < this.#away.until) return undefined;
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

  /** Makes the present host the worker's own host. */
  #stay(): void {
    this.#home = this.#next - 1;
    this.#away = undefined;
  }

  /** @throws DatabaseError of the pending refusal, if this server is still read-only. */
  async #checkWritable(mysql: Connection, scope: "SESSION" | "GLOBAL"): Promise<void> {
    const { error, isPending } = this.#refusal ?? {};
    if (error && isPending && (await this.#isReadOnly(error, mysql, scope))) throw error;
  }

  #isReadOnly(error: DatabaseError, mysql: Connection, scope: "SESSION" | "GLOBAL"): Promise<boolean> {
    return isStillReadOnly(mysql, error, scope, this.#timeoutMs);
  }

  #giveUp(error: PlainError, isRefused: boolean): void {
    const message = `No server takes writes: ${error.message}`;
    if (isRefused)
      this.#gaveUp = { ...error, message }; // the session reports it after its query has ended: a ledger may have to be asked first
    else this.#thread.post({ type: "workerGaveUp", worker: this.#worker, error });
  }

  get #timeoutMs(): number {
    return this.#thread.settings.connectTimeoutMs;
  }

  get #now(): number {
    return performance.now();
  }
}
