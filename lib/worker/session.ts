/** A worker's connection: what is set on it, what is open on it, and what becomes of these when it is lost. */
import type { Connection } from "mysql2";
import { ask, close, connectionIn, isClosed } from "../mysql/connection.ts";
import { type DatabaseError, isLost, isReadOnly, isRefusal } from "../mysql/errors.ts";
import { isAutocommitOff, isInTransaction } from "../mysql/server-state.ts";
import { sessionStatement } from "../mysql/statement.ts";
import { Hosts, type Opened, type WorkerInit } from "./hosts.ts";
import type { Job } from "./job.ts";
import { Kept } from "./kept.ts";
import type { Thread } from "./thread.ts";
import { Transaction } from "./transaction.ts";
import { WarnedQueries } from "./warned.ts";

/** How long a statement may take that is sent before the connection is closed. */
const closeMs = 1000;

export class Session {
  readonly worker: number;
  readonly transaction: Transaction;
  readonly warned: WarnedQueries;
  readonly #thread: Thread;
  readonly #hosts: Hosts;
  #opened: Opened | undefined;
  /** How much of the prologue was run on this connection. */
  #prologueRun = 0;
  /** A statement such as `USE`, whose effect would be lost with the connection. */
  #lasting: string | undefined;
  readonly #kept: Kept;
  #isBroken = false;

  constructor(worker: number, thread: Thread, init: WorkerInit) {
    this.worker = worker;
    this.transaction = new Transaction(worker, thread);
    this.warned = new WarnedQueries(worker, thread);
    this.#thread = thread;
    this.#hosts = new Hosts(worker, thread, init);
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
    return isOpen && !this.#hosts.isAway && !this.isRefused && this.#prologueRun === this.#thread.prologue.length;
  }

  /** True while the next query has to wait for a server that takes writes. */
  get isRefused(): boolean {
    return this.#hosts.isRefused;
  }

  /** True once no server has taken writes for as long as the worker waits for one. */
  get hasGivenUp(): boolean {
    return this.#hosts.gaveUp !== undefined;
  }

  /** A query was answered: the next refusal is another one. */
  forgetRefusal(): void {
    this.#hosts.forgetRefusal();
  }

  /** Sees to a connection on which the prologue was run; returns false when none is to be had, or the run ends. */
  async ready(): Promise<boolean> {
    if (this.#opened && isClosed(this.connection)) this.#abandon(new Error("Connection lost"));
    if (this.isRefused && !(await this.#open())) return false;
    if (this.#hosts.isAway) await this.#goHome();
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
    const isRefused = isRefusal(error) || (!isOpen && (await this.#hosts.isServers(error, this.mysql)));
    if (isRefused) this.#hosts.refuse(error);
    else if (!isLost(error) && !isReadOnly(error)) this.#hosts.forgetRefusal();
    // After a failover, the one name of a cluster stands for another server.
    const isBetterElsewhere = (isRefused || isReadOnly(error)) && !this.#lasting && !isOpen;
    if (isLost(error) || isBetterElsewhere) {
      this.#abandon(error, job);
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
    await this.warned.tell([], this.mysql, closeMs);
    if (this.#opened && this.transaction.isOpen) {
      const reason = `A transaction was left open: what worker ${this.worker} has run in it is rolled back`;
      this.transaction.end("failed", "Rolled back: its transaction was left open");
      this.#thread.post({ type: "broken", reason });
    }
    this.transaction.leavePrepared();
    const { gaveUp } = this.#hosts;
    if (gaveUp) this.#thread.post({ type: "gone", worker: this.worker, error: gaveUp });
    const connection = connectionIn(this.connection);
    if (connection) await close(connection);
  }

  /** Gets a connection, or waits with the one that there is; returns false when none is to be had, or the run ends. */
  async #open(): Promise<boolean> {
    const opened = await this.#hosts.open(this.#opened);
    if (opened && opened !== this.#opened) this.#begin(opened);
    return opened !== undefined;
  }

  /** Goes home between two queries, where nothing would be lost by that. */
  async #goHome(): Promise<void> {
    const old = connectionIn(this.connection);
    if (!old || this.#lasting || this.#kept.isAny || this.transaction.isOpen) return;
    const opened = await this.#hosts.goHome();
    if (!opened) return;
    this.#begin(opened);
    void close(old);
  }

  #begin(opened: Opened): void {
    this.#opened = opened;
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
        if (isRefusal(error as DatabaseError)) this.#hosts.refuse(error as DatabaseError);
        if (isLost(error as DatabaseError) || this.isRefused) {
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
    this.#hosts.report(cause);
    connectionIn(this.connection)?.destroy();
    this.#opened = undefined;
  }

  #cannotGoOn(reason: string): void {
    if (!this.#isBroken) this.#thread.endRun("broken", `Cannot go on: ${reason}`);
    this.#isBroken = true;
  }
}
