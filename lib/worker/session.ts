/** A worker's connection: to which host, what is set on it, again when it is lost, and home again when its host is back. */
import type { Connection, ConnectionOptions } from "mysql2";
import { ask, close, connectionIn, type Host, isClosed, nameOf, takeOver } from "../mysql/connection.ts";
import { type DatabaseError, isLost, isReadOnly, isUnready } from "../mysql/errors.ts";
import { reach } from "../mysql/reach.ts";
import { isAutocommitOff, isInTransaction } from "../mysql/server-state.ts";
import { sessionStatement } from "../mysql/statement.ts";
import { toPlain } from "../shared/messages.ts";
import type { Job } from "./job.ts";
import { Kept } from "./kept.ts";
import { type HomeTry, homeTryMs, nextHomeTry, type Route, routeOf } from "./route.ts";
import type { Thread } from "./thread.ts";
import { Transaction } from "./transaction.ts";

/** Makes a worker's connection; `options` has what the run needs of it, and how many milliseconds there are for it. */
export type WorkerInit = (host: Host | undefined, options: ConnectionOptions) => unknown;

export class Session {
  readonly worker: number;
  readonly transaction: Transaction;
  readonly #thread: Thread;
  readonly #init: WorkerInit;
  /** The hosts in the worker's own order, and the positions of its home and of the one that it tries next. */
  readonly #route: Route;
  #home = 0;
  #next = 0;
  #opened: { readonly connection: unknown } | undefined;
  /** It is not to the worker's own host: when to try that one, and how often this was done. */
  #away: HomeTry | undefined;
  /** How much of the prologue was run on this connection. */
  #prologueRun = 0;
  /** A statement such as `USE`, whose effect would be lost with the connection. */
  #lasting: string | undefined;
  readonly #kept: Kept;
  #isBroken = false;

  constructor(worker: number, thread: Thread, init: WorkerInit) {
    this.worker = worker;
    this.transaction = new Transaction(worker, thread);
    this.#thread = thread;
    this.#init = init;
    this.#route = routeOf(worker, thread.settings.hosts);
    this.#kept = new Kept(thread);
  }

  /** What `workerInit()` returned. */
  get connection(): unknown {
    return this.#opened?.connection;
  }

  /** The mysql2 connection in it; only a script's own `workerInit()` may return none. */
  get mysql(): Connection {
    return connectionIn(this.connection)!;
  }

  /** Whether there is nothing for `ready()` to do, as before nearly every query. */
  get isReady(): boolean {
    const isOpen = this.#opened !== undefined && !isClosed(this.connection);
    return isOpen && !this.#away && this.#prologueRun === this.#thread.prologue.length;
  }

  /** Sees to a connection on which the prologue was run; returns false when none is to be had, or the run ends. */
  async ready(): Promise<boolean> {
    if (this.#opened && isClosed(this.connection)) this.#abandon(new Error("Connection lost"));
    if (this.#away) await this.#goHome();
    while (this.#opened !== undefined || (await this.#open())) {
      if (this.#prologueRun === this.#thread.prologue.length) return true;
      if (!(await this.#runPrologue())) return false;
    }
    return false;
  }

  /** Runs a statement of our own and returns its rows; a server that does not answer loses the connection. */
  ask(text: string | Uint8Array): Promise<(string | null)[][]> {
    return ask(this.mysql, text, this.#thread.settings.connectTimeoutMs);
  }

  /** Takes a job that the server has answered on this connection: ends it, or holds it back until its transaction ends. */
  answered(job: Job, rows: number): void {
    const statement = sessionStatement(job.text);
    if (statement) {
      this.#thread.post({ type: "sessionChanged", statement: statement.name });
      if (statement.session !== "passing") this.#lasting ??= statement.name;
    }
    this.transaction.answered(job, rows, isInTransaction(this.mysql));
  }

  /** Finds out whether an interrupted query has lost its connection: where one kills itself, MySQL says the same. */
  async detectLoss(error: DatabaseError): Promise<void> {
    if (error.errno !== 1317 || !this.mysql) return; // ER_QUERY_INTERRUPTED
    await this.ask("DO 0").catch(() => {});
    if (isClosed(this.connection)) error.fatal = true;
  }

  /** After an error of a query: gives up a connection that is lost, or a host that is worse than another; ends what is gone. */
  async afterError(error: DatabaseError, job: Job): Promise<void> {
    const { isOpen } = this.transaction;
    // After a failover, the one name of a cluster stands for another server.
    const isBetterElsewhere =
      this.#route.length > 1 ? isUnready(error) || isReadOnly(error) : isReadOnly(error) && !this.#lasting && !isOpen;
    if (isLost(error) || isBetterElsewhere) {
      this.#abandon(error, job);
      if (isReadOnly(error)) this.#home = this.#next; // a replica may stay one: no use in coming back
      return;
    }
    if (!isOpen) return;
    await this.ask("DO 0").catch(() => {}); // its answer tells whether a transaction is open
    if (!isInTransaction(this.mysql)) this.#cannotGoOn(this.transaction.endedBy(error, job));
  }

  /** After a query that has not been done: what follows may depend on it, and the COMMIT further down would commit a half. */
  async afterFailure({ seq, text, error }: Job): Promise<void> {
    if (!this.#opened || isClosed(this.connection)) return;
    const { message } = error as Error;
    const isAutocommit = !isAutocommitOff(this.mysql);
    if (!this.transaction.isOpen && isAutocommit) {
      const statement = sessionStatement(text);
      if (statement) this.#cannotGoOn(`${statement.name} in query ${seq} has failed: ${message}`);
      return;
    }
    await this.ask("ROLLBACK").catch(() => this.mysql.destroy()); // the server rolls back what was open
    this.transaction.rolledBackAfter(error as DatabaseError, { seq, text }, isAutocommit);
    this.#cannotGoOn(`query ${seq} has failed in a transaction, which is rolled back: ${message}`);
  }

  /** Whether queries can be sent; false when the run ends, as one of them reads what was lost with an earlier connection. */
  canSend(jobs: readonly Job[]): boolean {
    const missing = this.#kept.missing(jobs);
    if (missing !== undefined) this.#cannotGoOn(missing);
    return missing === undefined;
  }

  async close(): Promise<void> {
    if (this.#opened && this.transaction.isOpen) {
      const reason = `A transaction was left open: what worker ${this.worker} has run in it is rolled back`;
      this.transaction.end("failed", "Rolled back: its transaction was left open");
      this.#thread.post({ type: "broken", reason });
    }
    this.transaction.leavePrepared();
    const connection = connectionIn(this.connection);
    if (connection) await close(connection);
  }

  /**
   * Calls `workerInit()` for one host after the other, and again while the reason for its failing may pass. Only when no host
   * has let the worker in does it pause.
   */
  async #open(): Promise<boolean> {
    const thread = this.#thread;
    const attempt = async (timeoutMs: number) => {
      const at = this.#next++;
      await this.#connect(at, timeoutMs).catch((cause) => {
        throw this.#reportHost(at, cause);
      });
    };
    try {
      await reach(attempt, {
        hosts: this.#route.length,
        timeoutMs: thread.settings.connectTimeoutMs,
        isOver: () => thread.isDraining,
        pause: (ms) => thread.pause(ms),
        onWait: (error) => thread.post({ type: "waiting", error: toPlain(error) }),
      });
      return true;
    } catch (error) {
      if (!thread.isDraining) thread.post({ type: "gone", worker: this.worker, error: toPlain(error) });
      return false;
    }
  }

  /** Tries from time to time, between two queries, whether the host of a worker that is away from it is back. */
  async #goHome(): Promise<void> {
    const old = connectionIn(this.connection);
    if (!this.#away || !old || this.#lasting || this.#kept.isAny || this.transaction.isOpen) return;
    if (this.#thread.isDraining || performance.now() < this.#away.until) return;
    const { tries } = this.#away;
    try {
      await this.#connect(this.#home, homeTryMs);
      this.#next = this.#home + 1;
      void close(old);
    } catch (cause) {
      this.#reportHost(this.#home, cause);
      this.#away = nextHomeTry(tries + 1);
    }
  }

  async #connect(at: number, connectTimeout: number): Promise<void> {
    const host = this.#route[at % this.#route.length];
    const connection = await this.#init(host, { connectTimeout });
    const mysql = connectionIn(connection);
    if (mysql) await takeOver(mysql, this.#thread.settings.connectTimeoutMs);
    this.#thread.post({ type: "connected", worker: this.worker, host: host && nameOf(host) });
    this.#opened = { connection };
    this.#away = (at - this.#home) % this.#route.length === 0 ? undefined : nextHomeTry(0);
    this.#lasting = undefined;
    this.#prologueRun = 0;
    this.#kept.renew();
  }

  /** Runs what is left of the prologue on this connection; returns false when the run ends, as a statement of it has failed. */
  async #runPrologue(): Promise<boolean> {
    const { prologue } = this.#thread;
    for (; this.#prologueRun < prologue.length; this.#prologueRun++) {
      const { sql, from } = prologue[this.#prologueRun]!;
      try {
        if (this.mysql) await this.ask(sql);
      } catch (error) {
        if (isLost(error as DatabaseError)) {
          this.#abandon(error);
          return true;
        }
        this.#thread.endRun("refused", `Cannot go on: ${from} has failed: ${(error as Error).message}`);
        return false;
      }
    }
    return true;
  }

  /** Gives the connection up, perhaps while it was running a query; what was open on it is gone. */
  #abandon(cause: unknown, running?: Job): void {
    const { isOpen } = this.transaction;
    const lost = this.#lasting ? `what ${this.#lasting} has set` : isOpen && "a transaction that was open";
    if (lost) this.#cannotGoOn(`a connection was lost, and with it ${lost}`);
    this.transaction.lost(running);
    this.#reportHost(this.#next - 1, cause);
    connectionIn(this.connection)?.destroy();
    this.#opened = undefined;
  }

  #cannotGoOn(reason: string): void {
    if (!this.#isBroken) this.#thread.endRun("broken", `Cannot go on: ${reason}`);
    this.#isBroken = true;
  }

  /** Tells the parent which host it was; returns the error with its name. */
  #reportHost(at: number, cause: unknown): DatabaseError {
    const host = this.#route[at % this.#route.length];
    if (!host) return cause as DatabaseError;
    const { message, ...error } = toPlain(cause);
    const named = Object.assign(new Error(`${nameOf(host)}: ${message}`), error);
    if (this.#route.length > 1) this.#thread.post({ type: "away", host: nameOf(host), error: toPlain(named) });
    return named;
  }
}
