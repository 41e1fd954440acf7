/** Where a worker is connected to: the hosts that it tries, how long it waits for one, and coming home when its own is back. */
import type { Connection, ConnectionOptions } from "mysql2";
import { connectionIn, type Host, nameOf, takeOver } from "../mysql/connection.ts";
import { backoffMs, type DatabaseError, isReadOnly, isTransient } from "../mysql/errors.ts";
import { reach } from "../mysql/reach.ts";
import { isStillReadOnly } from "../mysql/read-only.ts";
import { type PlainError, toPlain } from "../shared/messages.ts";
import { type HomeTry, homeTryMs, nextHomeTry, type Route, routeOf } from "./route.ts";
import type { Thread } from "./thread.ts";

/** Makes a worker's connection; `options` has what the run needs of it, and how many milliseconds there are for it. */
export type WorkerInit = (host: Host | undefined, options: ConnectionOptions) => unknown;

/** What `workerInit()` has returned. */
export interface Opened {
  readonly connection: unknown;
}

/** A server takes no writes. */
interface Refusal {
  readonly error: DatabaseError;
  /** When the worker stops waiting for one that does. */
  readonly until: number;
  /** How often it was so since it has taken one. */
  readonly times: number;
  /** Nothing is sent before the worker has waited. */
  isPending: boolean;
}

export class Hosts {
  readonly #worker: number;
  readonly #thread: Thread;
  readonly #init: WorkerInit;
  /** The hosts in the worker's own order, and the positions of its home and of the one that it tries next. */
  readonly #route: Route;
  #home = 0;
  #next = 0;
  /** The connection is not to the worker's own host: when to try that one, and how often this was done. */
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

  /** True while the next query has to wait for a server that takes writes. */
  get isRefused(): boolean {
    return this.#refusal?.isPending === true;
  }

  /** Why the worker waits for no server any more: none has taken writes until the time was up. */
  get gaveUp(): PlainError | undefined {
    return this.#gaveUp;
  }

  /** Notes that the server takes no writes. The time that the worker waits begins with the first refusal. */
  refuse(error: DatabaseError): void {
    const { until, times } = this.#refusal ?? { until: this.#now + this.#timeoutMs, times: 0 };
    this.#refusal = { error, until, times: times + 1, isPending: true };
  }

  /** Notes that the server has taken a query, whatever became of it. */
  forgetRefusal(): void {
    this.#refusal = undefined;
  }

  /**
   * Returns true if a write in a read-only transaction (1792) is refused by the server's doing, and not by the session's. The
   * first time it may be, as the connection may be older than the server's present setting.
   */
  async isServers(error: DatabaseError, mysql: Connection): Promise<boolean> {
    return error.errno === 1792 && (this.#refusal === undefined || this.#isReadOnly(error, mysql, "GLOBAL"));
  }

  /**
   * Calls `workerInit()` for one host after the other, and again while the reason for its failing may pass. Only when no host
   * has let the worker in does it pause. After a refusal, a host that says it is still read-only does not count.
   *
   * @param kept a connection that must not be given up: only its server is waited for.
   * @returns undefined if none is to be had, or the run ends.
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
        isOver: () => thread.isDraining,
        pause: (ms) => thread.pause(ms),
        mayPass: (error) => isTransient(error) || isReadOnly(error),
        onWait,
      });
      if (refusal && isReadOnly(refusal.error)) this.#stay(); // a replica may stay one: no use in coming back
      return opened;
    } catch (error) {
      if (!thread.isDraining) this.#giveUp(toPlain(error), refusal !== undefined);
      return undefined;
    } finally {
      if (refusal) refusal.isPending = false;
      if (isTold) thread.post({ type: "waited", worker: this.#worker });
    }
  }

  /** Tries from time to time whether the host of a worker that is away from it is back. */
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

  /** Tells the parent which host it was; returns the error with its name. */
  report(cause: unknown, at = this.#next - 1): DatabaseError {
    const host = this.#route[at % this.#route.length];
    if (!host) return cause as DatabaseError;
    const { message, ...error } = toPlain(cause);
    const named = Object.assign(new Error(`${nameOf(host)}: ${message}`), error);
    if (this.#route.length > 1) this.#thread.post({ type: "away", host: nameOf(host), error: toPlain(named) });
    return named;
  }

  /** @throws DatabaseError with the host's name. */
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

  /** Makes the present host the worker's home. */
  #stay(): void {
    this.#home = this.#next - 1;
    this.#away = undefined;
  }

  /** @throws DatabaseError that the worker has met, if this server is still read-only. */
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
      this.#gaveUp = { ...error, message }; // told once its query has ended: a ledger may have to be asked
    else this.#thread.post({ type: "gone", worker: this.#worker, error });
  }

  get #timeoutMs(): number {
    return this.#thread.settings.connectTimeoutMs;
  }

  get #now(): number {
    return performance.now();
  }
}
