/** A worker's connection: to which host, again when it is lost, and home again when that host is back. */
import type { Connection, ConnectionOptions } from "mysql2";
import { close, connectionIn, type Host, isClosed, nameOf } from "../mysql/connection.ts";
import { backoffMs, type DatabaseError, isLost, isReadOnly, isUnready, passes } from "../mysql/errors.ts";
import { execute, isInTransaction } from "../mysql/execute.ts";
import { exactValues } from "../mysql/rows.ts";
import { lastingStatement, sessionStatement } from "../mysql/statement.ts";
import { type PlainError, toPlain } from "../shared/messages.ts";
import type { Thread } from "./thread.ts";

export type WorkerInit = (host: Host | undefined, options: ConnectionOptions) => unknown;

/** How long one host may take to let a worker in while there are others, or another try. */
const tryMs = 10_000;
/** The same for a host that has been away, while the worker has a connection that works. */
const homeTryMs = 3000;
/** The longest that a host which has been away is left alone. */
const homeBackoffMs = 60_000;

export class Session {
  readonly worker: number;
  /** A transaction that a query has begun is open. */
  inTransaction = false;
  readonly #thread: Thread;
  readonly #init: WorkerInit;
  readonly #options: ConnectionOptions;
  /** The hosts in the worker's own order, and the positions of its home and of the one that it tries next. */
  readonly #ring: readonly (Host | undefined)[];
  #home = 0;
  #next = 0;
  #opened: { readonly connection: unknown } | undefined;
  /** It is not to the worker's own host: when to try that one, and how often this was done. */
  #away: { until: number; tries: number } | undefined;
  /** A statement such as `USE`, whose effect would be lost with the connection. */
  #lasting: string | undefined;

  /** @param options what the queries need of a connection, besides `myglobals.config.db`. */
  constructor(worker: number, thread: Thread, init: WorkerInit, options: ConnectionOptions) {
    this.worker = worker;
    this.#thread = thread;
    this.#init = init;
    this.#options = options;
    this.#ring = ringOf(worker, thread.settings.hosts);
  }

  /** What `workerInit()` returned. */
  get connection(): unknown {
    return this.#opened?.connection;
  }

  /** The mysql2 connection in it; only a script's own `workerInit()` may return none. */
  get mysql(): Connection {
    return connectionIn(this.connection)!;
  }

  /** Sees to it that there is a connection; false when none is to be had, or the run ends. */
  async ready(): Promise<boolean> {
    if (this.#opened && isClosed(this.connection)) this.#leave(new Error("Connection lost"));
    if (this.#opened) await this.#goHome();
    return this.#opened !== undefined || this.#open();
  }

  /** Notes what a query has set on the connection. */
  note(unit: unknown): void {
    const statement = sessionStatement(unit);
    if (statement) this.#thread.post({ type: "set", statement });
    this.#lasting ??= lastingStatement(unit);
    this.inTransaction = isInTransaction(this.mysql);
  }

  /** Gives the connection up where an error says that it is lost, or that another host is the better one. */
  async heed(error: DatabaseError): Promise<void> {
    // After a failover, the one name of a cluster stands for another server.
    const isBetterElsewhere =
      this.#thread.settings.hosts.length > 1
        ? isUnready(error) || isReadOnly(error)
        : isReadOnly(error) && !this.#lasting && !this.inTransaction;
    if (isLost(error) || isBetterElsewhere) {
      this.#leave(error);
      if (isReadOnly(error)) this.#home = this.#next; // a replica may stay one: no use in coming back
    } else if (this.inTransaction) {
      await execute(this.mysql, "DO 0").catch(() => {}); // its answer tells whether a transaction is open
      this.inTransaction = isInTransaction(this.mysql);
      if (this.inTransaction) return;
      this.#thread.endRun("broken", `Cannot go on: a transaction that was open is rolled back: ${error.message}`);
    }
  }

  async close(): Promise<void> {
    if (this.#opened && this.inTransaction) {
      const reason = `A transaction was left open: what worker ${this.worker} has run in it is rolled back`;
      this.#thread.post({ type: "broken", reason });
    }
    const connection = connectionIn(this.connection);
    if (connection) await close(connection);
  }

  /**
   * Calls `workerInit()` for one host after the other, and again while the reason for its failing may pass. Only when no host
   * has let the worker in does it pause.
   */
  async #open(): Promise<boolean> {
    const thread = this.#thread;
    const deadline = performance.now() + thread.settings.connectTimeoutMs;
    for (let round = 1; !thread.isDraining; round++) {
      let error: PlainError | undefined;
      let mayPass = false;
      for (let untried = this.#ring.length; untried > 0 && !thread.isDraining; untried--) {
        const at = this.#next++;
        const share = (deadline - performance.now()) / untried;
        try {
          await this.#connect(at, Math.ceil(Math.min(tryMs, Math.max(share, 1))));
          return true;
        } catch (cause) {
          error = this.#tell(at, cause);
          mayPass ||= passes(cause as DatabaseError);
        }
      }
      if (!error) break;
      const waitMs = backoffMs(round);
      if (!mayPass || performance.now() + waitMs > deadline) {
        thread.post({ type: "gone", worker: this.worker, error });
        return false;
      }
      if (round === 1) thread.post({ type: "waiting", error });
      await thread.pause(waitMs);
    }
    return false;
  }

  /** Tries from time to time, between two queries, whether the host of a worker that is away from it is back. */
  async #goHome(): Promise<void> {
    const old = connectionIn(this.connection);
    if (!this.#away || !old || this.#lasting || this.inTransaction) return;
    if (this.#thread.isDraining || performance.now() < this.#away.until) return;
    const { tries } = this.#away;
    try {
      await this.#connect(this.#home, homeTryMs);
      this.#next = this.#home + 1;
      void close(old);
    } catch (cause) {
      this.#tell(this.#home, cause);
      this.#away = stay(tries + 1);
    }
  }

  async #connect(at: number, connectTimeout: number): Promise<void> {
    const host = this.#ring[at % this.#ring.length];
    const connection = await this.#init(host, { ...this.#options, connectTimeout });
    this.#thread.post({ type: "connected", worker: this.worker, host: host && nameOf(host) });
    if (this.#thread.settings.rows) Object.assign(connectionIn(connection)?.config ?? {}, exactValues);
    this.#opened = { connection };
    this.#away = (at - this.#home) % this.#ring.length === 0 ? undefined : stay(0);
    this.#lasting = undefined;
    this.inTransaction = false;
  }

  #leave(cause: unknown): void {
    const lost = this.#lasting ? `what ${this.#lasting} has set` : this.inTransaction && "a transaction that was open";
    if (lost) this.#thread.endRun("broken", `Cannot go on: a connection was lost, and with it ${lost}`);
    this.#tell(this.#next - 1, cause);
    connectionIn(this.connection)?.destroy();
    this.#opened = undefined;
  }

  /** Tells the parent which host it was; returns what it told. */
  #tell(at: number, cause: unknown): PlainError {
    const error = toPlain(cause);
    const host = this.#ring[at % this.#ring.length];
    if (!host) return error;
    const named = { ...error, message: `${nameOf(host)}: ${error.message}` };
    if (this.#ring.length > 1) this.#thread.post({ type: "away", host: nameOf(host), error: named });
    return named;
  }
}

/** Worker 1 is at home at the first host, worker 2 at the second; the workers of one host go on at different others. */
function ringOf(worker: number, hosts: readonly Host[]): readonly (Host | undefined)[] {
  const at = (worker - 1) % hosts.length;
  const others = [...hosts.slice(at + 1), ...hosts.slice(0, at)];
  const turn = Math.floor((worker - 1) / hosts.length) % others.length;
  return [hosts[at], ...others.slice(turn), ...others.slice(0, turn)];
}

function stay(tries: number): { until: number; tries: number } {
  return { until: performance.now() + backoffMs(6 + tries, homeBackoffMs), tries }; // from some seconds on
}
