/**
 * Manages one worker's connection: runs the setup statements, follows the open transaction, reconnects after a loss, and ends
 * the run if something was lost that later queries may need.
 */
import type { Connection } from "mysql2";
import { ask, askWarnings, close, connectionIn, isClosed } from "../mysql/connection.ts";
import { stateOf } from "../mysql/connection-state.ts";
import { type DatabaseError, isLost, isReadOnly, isRefusal } from "../mysql/errors.ts";
import { keepsTransaction, sessionStatement } from "../mysql/statement.ts";
import { Hosts, type Opened, type WorkerInit } from "./hosts.ts";
import type { Job } from "./job.ts";
import { isNotRolledBack, partStays, rollBack } from "./left-changes.ts";
import { SessionState } from "./session-state.ts";
import type { Thread } from "./thread.ts";
import { Transaction } from "./transaction.ts";
import { WarnedQueries } from "./warned.ts";

/** Timeout in ms of a statement that is sent just before the connection is closed. */
const closeMs = 1000;

export class Session {
  readonly worker: number;
  readonly transaction: Transaction;
  readonly warned: WarnedQueries;
  readonly #thread: Thread;
  readonly #hosts: Hosts;
  #opened: Opened | undefined;
  /** The number of session setup statements that were run on this connection. */
  #setupRun = 0;
  /** Name of the first statement, such as `LOCK TABLES`, whose effect would be lost with the connection. */
  #lasting: string | undefined;
  readonly #state: SessionState;
  #isBroken = false;

  constructor(worker: number, thread: Thread, init: WorkerInit) {
    this.worker = worker;
    this.transaction = new Transaction(worker, thread);
    this.warned = new WarnedQueries(worker, thread);
    this.#thread = thread;
    this.#hosts = new Hosts(worker, thread, init);
    this.#state = new SessionState(thread);
  }

  /** Return value of `workerInit()`. */
  get connection(): unknown {
    return this.#opened?.connection;
  }

  /** The mysql2 connection in `connection`. Undefined only if a script's own `workerInit()` returns something else. */
  get mysql(): Connection {
    return connectionIn(this.connection)!;
  }

  /** True if `ready()` has nothing to do, as before nearly every query. */
  get isReady(): boolean {
    const isOpen = this.#opened !== undefined && !isClosed(this.connection);
    return isOpen && !this.#hosts.isAway && !this.isRefused && this.#setupRun === this.#thread.sessionSetup.length;
  }

  /** True while the next query must wait for a server that takes writes. */
  get isRefused(): boolean {
    return this.#hosts.isRefused;
  }

  /** True once no server has taken writes until the timeout. */
  get hasGivenUp(): boolean {
    return this.#hosts.gaveUp !== undefined;
  }

  /** Notes that a query was answered. The next refusal then starts a new timeout. */
  forgetRefusal(): void {
    this.#hosts.forgetRefusal();
  }

  /** Connects if needed and runs the session setup. Returns false if no server can be reached, or the run ends. */
  async ready(): Promise<boolean> {
    if (this.#opened && isClosed(this.connection)) this.#abandon(new Error("Connection lost"));
    if (this.isRefused && !(await this.#open())) return false;
    if (this.#hosts.isAway) await this.#goHome();
    while (this.#opened !== undefined || (await this.#open())) {
      if (this.#setupRun === this.#thread.sessionSetup.length) return true;
      if (!(await this.#runSetup())) return false;
    }
    return false;
  }

  /** Runs a statement of our own and returns its rows. Drops the connection if the server does not answer in time. */
  ask(text: string | Uint8Array): Promise<(string | null)[][]> {
    return ask(this.mysql, text, this.#thread.settings.connectTimeoutMs);
  }

  /** Returns the warnings of the last statement. */
  askWarnings() {
    return askWarnings(this.mysql, this.#thread.settings.connectTimeoutMs);
  }

  /** Handles a job that the server has answered: ends it, or holds it until its transaction ends. */
  answered(job: Job, rows: number): void {
    const statement = sessionStatement(job.text);
    if (statement) {
      this.#thread.post({ type: "sessionChanged", statement: statement.name });
      if (statement.session !== "passing") this.#lasting ??= statement.name;
    }
    const isOpen = stateOf(this.mysql).isInTransaction;
    this.transaction.answered(job, rows, isOpen);
    if (isOpen && !this.#thread.settings.isOnlyWorker)
      this.#cannotGoOn(`query ${job.seq} has left a transaction open, and there are several workers: use one worker`);
  }

  /**
   * Checks after ER_QUERY_INTERRUPTED whether the connection is lost. MySQL also gives that error if a query kills its own
   * connection.
   */
  async detectLoss(error: DatabaseError): Promise<void> {
    if (error.errno !== 1317 || !this.mysql) return;
    await this.ask("DO 0").catch(() => {});
    if (isClosed(this.connection)) error.fatal = true;
  }

  /**
   * Drops the connection if a query error shows that it is lost, or that another host can take over. Ends the run if the error
   * has ended the user's transaction.
   */
  async afterError(error: DatabaseError, job: Job): Promise<void> {
    const { isOpen } = this.transaction;
    const isRefused = isRefusal(error) || (!isOpen && (await this.#hosts.isServers(error, this.mysql)));
    if (isRefused) this.#hosts.refuse(error);
    else if (!isLost(error) && !isReadOnly(error)) this.#hosts.forgetRefusal();
    // Reconnects even if there is only one host: after a failover, the name of a cluster stands for another server.
    const isBetterElsewhere = (isRefused || isReadOnly(error)) && !this.#lasting && !isOpen;
    if (isLost(error) || isBetterElsewhere) {
      this.#abandon(error, job);
      return;
    }
    if (!isOpen) return;
    const isPart = (await this.askWarnings()).some(isNotRolledBack); // the answer carries the transaction status, too
    if (!stateOf(this.mysql).isInTransaction) this.#cannotGoOn(this.transaction.endedBy(error, job, isPart));
  }

  /** Rolls back a transaction that a failed query has begun by itself, as a procedure may. Otherwise the next queries would run in it. */
  async rollBackOwn(error: DatabaseError, { text }: Job): Promise<void> {
    const isLeft = !this.mysql || isClosed(this.connection) || this.transaction.isOpen;
    if (isLeft || keepsTransaction(text) || stateOf(this.mysql).isAutocommitOff) return;
    await this.ask("DO 0").catch(() => {}); // its answer carries the transaction status
    if (!stateOf(this.mysql).isInTransaction) return;
    const isPart = await rollBack(this.mysql, this.#thread.settings.connectTimeoutMs);
    error.message += `; the transaction that it left open is rolled back${isPart ? partStays : ""}`;
  }

  /**
   * Handles a query that was not done. Ends the run if later queries may depend on it: it was a session statement, or part of
   * a transaction. Rolls that back, because the COMMIT in a later query would commit half of it.
   */
  async afterFailure(job: Job): Promise<void> {
    if (!this.mysql || isClosed(this.connection)) return;
    const { seq, text } = job;
    const { message } = job.error as Error;
    const isAutocommit = !stateOf(this.mysql).isAutocommitOff;
    if (!this.transaction.isOpen && isAutocommit) {
      const statement = sessionStatement(text);
      if (statement) this.#cannotGoOn(`${statement.name} in query ${seq} has failed: ${message}`);
      return;
    }
    const isPart = await rollBack(this.mysql, this.#thread.settings.connectTimeoutMs);
    this.transaction.rolledBackAfter(job, isAutocommit, isPart);
    this.#cannotGoOn(`query ${seq} has failed in a transaction, which is rolled back: ${message}`);
  }

  /** Returns true if the jobs can be sent. Ends the run if one of them reads what was lost with an earlier connection. */
  canSend(jobs: readonly Job[]): boolean {
    const missing = this.#state.findLost(jobs);
    if (missing !== undefined) this.#cannotGoOn(missing);
    return missing === undefined;
  }

  async close(): Promise<void> {
    await this.warned.tell([], this.mysql, closeMs);
    if (this.#opened && this.transaction.isOpen) {
      const reason = `A transaction was left open: what worker ${this.worker} has run in it is rolled back`;
      const isPart = await rollBack(this.mysql, closeMs);
      this.transaction.end("failed", "Rolled back: its transaction was left open", isPart);
      this.#thread.post({ type: "broken", reason });
    }
    this.transaction.leavePrepared();
    const { gaveUp } = this.#hosts;
    if (gaveUp) this.#thread.post({ type: "workerGaveUp", worker: this.worker, error: gaveUp });
    const connection = connectionIn(this.connection);
    if (connection) await close(connection);
  }

  /** Connects, or waits until the server of the open connection takes writes. Returns false if that fails, or the run ends. */
  async #open(): Promise<boolean> {
    const opened = await this.#hosts.open(this.#opened);
    if (opened && opened !== this.#opened) this.#begin(opened);
    return opened !== undefined;
  }

  /** Moves back to the worker's own host, unless something would be lost with the present connection. */
  async #goHome(): Promise<void> {
    const old = connectionIn(this.connection);
    if (!old || this.#lasting || this.#state.hasUserVariables || this.transaction.isOpen) return;
    const opened = await this.#hosts.goHome();
    if (!opened) return;
    this.#begin(opened);
    void close(old);
  }

  #begin(opened: Opened): void {
    this.#opened = opened;
    this.#lasting = undefined;
    this.#setupRun = 0;
    this.#state.renew();
  }

  /** Runs the rest of the session setup on this connection. Ends the run and returns false if a statement fails. */
  async #runSetup(): Promise<boolean> {
    const { sessionSetup } = this.#thread;
    for (; this.#setupRun < sessionSetup.length; this.#setupRun++) {
      const { sql, from } = sessionSetup[this.#setupRun]!;
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

  /** Drops the connection, perhaps while it was running a query. Ends the run if session state or a transaction was lost. */
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
