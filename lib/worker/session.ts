/** A worker's connection: to which host, what is set on it, again when it is lost, and home again when its host is back. */
import type { Connection, ConnectionOptions } from "mysql2";
import { ask, close, connectionIn, type Host, isClosed, nameOf, takeOver } from "../mysql/connection.ts";
import { backoffMs, type DatabaseError, isLost, isReadOnly, isTransient, isUnready } from "../mysql/errors.ts";
import { isInTransaction } from "../mysql/server-state.ts";
import { isLasting, sessionStatement } from "../mysql/statement.ts";
import { type PlainError, toPlain } from "../shared/messages.ts";
import type { Job } from "./job.ts";
import type { Thread } from "./thread.ts";
import { Transaction } from "./transaction.ts";

/** Makes a worker's connection; `options` has what the run needs of it, and how many milliseconds there are for it. */
export type WorkerInit = (host: Host | undefined, options: ConnectionOptions) => unknown;

/** How long one host may take to let a worker in while there are others, or another try. */
const tryMs = 10_000;
/** The same for a host that has been away, while the worker has a connection that works. */
const homeTryMs = 3000;
/** The longest that a host which has been away is left alone. */
const homeBackoffMs = 60_000;

export class Session {
  readonly worker: number;
  readonly transaction: Transaction;
  readonly #thread: Thread;
  readonly #init: WorkerInit;
  /** The hosts in the worker's own order, and the positions of its home and of the one that it tries next. */
  readonly #route: readonly (Host | undefined)[];
  #home = 0;
  #next = 0;
  #opened: { readonly connection: unknown } | undefined;
  /** It is not to the worker's own host: when to try that one, and how often this was done. */
  #away: { readonly until: number; readonly tries: number } | undefined;
  /** How much of the prologue was run on this connection. */
  #prologueRun = 0;
  /** A statement such as `USE`, whose effect would be lost with the connection. */
  #lasting: string | undefined;

  constructor(worker: number, thread: Thread, init: WorkerInit) {
    this.worker = worker;
    this.transaction = new Transaction(worker, thread);
    this.#thread = thread;
    this.#init = init;
    this.#route = routeOf(worker, thread.settings.hosts);
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

  /**
   * Sees to it that there is a connection on which the prologue was run; false when none is to be had, or the run ends.
   */
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
      this.#thread.post({ type: "sessionChanged", statement });
      if (isLasting(statement)) this.#lasting ??= statement;
    }
    this.transaction.answered(job, rows, isInTransaction(this.mysql));
  }

  /** Finds out whether an interrupted query has lost its connection: where one kills itself, MySQL says the same. */
  async detectLoss(error: DatabaseError): Promise<void> {
    if (error.errno !== 1317 || !this.mysql) return; // ER_QUERY_INTERRUPTED
    await this.ask("DO 0").catch(() => {});
    if (isClosed(this.connection)) error.fatal = true;
  }

  /** After an error of a query: gives the connection up where it is lost, or where another host is better. */
  async afterError(error: DatabaseError, seq: number, statement: string | undefined): Promise<void> {
    const { isOpen } = this.transaction;
    // After a failover, the one name of a cluster stands for another server.
    const isBetterElsewhere =
      this.#route.length > 1 ? isUnready(error) || isReadOnly(error) : isReadOnly(error) && !this.#lasting && !isOpen;
    if (isLost(error) || isBetterElsewhere) {
      this.#abandon(error, statement === "COMMIT");
      if (isReadOnly(error)) this.#home = this.#next; // a replica may stay one: no use in coming back
      return;
    }
    if (isOpen) {
      await this.ask("DO 0").catch(() => {}); // its answer tells whether a transaction is open
      if (!isInTransaction(this.mysql)) {
        this.transaction.lost(`Rolled back: ${error.message}`);
        this.#thread.endRun("broken", `Cannot go on: a transaction that was open is rolled back: ${error.message}`);
        return;
      }
    }
    // What follows depends on it.
    if (statement) {
      this.#thread.endRun("broken", `Cannot go on: ${statement} in query ${seq} has failed: ${error.message}`);
    }
  }

  async close(): Promise<void> {
    if (this.#opened && this.transaction.isOpen) {
      const reason = `A transaction was left open: what worker ${this.worker} has run in it is rolled back`;
      this.transaction.lost("Rolled back: its transaction was left open");
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
    let error: PlainError | undefined;
    for (let round = 1; !thread.isDraining; round++) {
      let mayPass = false;
      for (let untried = this.#route.length; untried > 0 && !thread.isDraining; untried--) {
        const at = this.#next++;
        const share = (deadline - performance.now()) / untried;
        try {
          await this.#connect(at, Math.ceil(Math.min(tryMs, Math.max(share, 1))));
          return true;
        } catch (cause) {
          const found = this.#reportHost(at, cause);
          if (error === undefined || found.code !== "ETIMEDOUT") error = found; // what a server has said tells more
          mayPass ||= isTransient(cause as DatabaseError);
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
    if (!this.#away || !old || this.#lasting || this.transaction.isOpen) return;
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

  /** Gives the connection up; what was open on it is gone, unless it was lost while it was being committed. */
  #abandon(cause: unknown, isCommitting = false): void {
    const { isOpen } = this.transaction;
    const lost = this.#lasting ? `what ${this.#lasting} has set` : isOpen && "a transaction that was open";
    if (lost) this.#thread.endRun("broken", `Cannot go on: a connection was lost, and with it ${lost}`);
    if (isOpen) this.transaction.lost("Its connection was lost before its transaction was committed", isCommitting);
    this.#reportHost(this.#next - 1, cause);
    connectionIn(this.connection)?.destroy();
    this.#opened = undefined;
  }

  /** Tells the parent which host it was; returns what it told. */
  #reportHost(at: number, cause: unknown): PlainError {
    const error = toPlain(cause);
    const host = this.#route[at % this.#route.length];
    if (!host) return error;
    const named = { ...error, message: `${nameOf(host)}: ${error.message}` };
    if (this.#route.length > 1) this.#thread.post({ type: "away", host: nameOf(host), error: named });
    return named;
  }
}

/** Worker 1 is at home at the first host, worker 2 at the second; the workers of one host go on at different others. */
function routeOf(worker: number, hosts: readonly Host[]): readonly (Host | undefined)[] {
  const at = (worker - 1) % hosts.length;
  const others = [...hosts.slice(at + 1), ...hosts.slice(0, at)];
  const turn = Math.floor((worker - 1) / hosts.length) % others.length;
  return [hosts[at], ...others.slice(turn), ...others.slice(0, turn)];
}

/** When a worker looks again whether its own host is back: from some seconds on, ever more seldom. */
function nextHomeTry(tries: number): { until: number; tries: number } {
  return { until: performance.now() + backoffMs(6 + tries, homeBackoffMs), tries };
}
