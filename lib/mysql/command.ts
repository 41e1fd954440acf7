/**
 * mysql2's query command, made to send bytes and to keep nothing.
 *
 * A text is sent as its bytes, as the clients do: mysql2 would encode it anew after `SET NAMES latin1`. Of the answer, mysql2's
 * own states read all but the rows: those that nobody wants are only counted, and the others are handed on as they came. That
 * takes no listeners and no options object per query, which cost more than the rest of mysql2 together.
 */
import type { Connection } from "mysql2";
import { type DatabaseError, nameError } from "./errors.ts";
import { contentOf, endFile, explainDisabled } from "./local-infile.ts";
import { type InnerConnection, inner, type Ok, type Packet, Query, QueryPacket, type State } from "./mysql2-query.ts";
import type { Prepared } from "./prepared.ts";
import { noteCharacterSet, noteStatus } from "./server-state.ts";
import { noteWarnings } from "./warnings.ts";

/** A column as mysql2 describes it. */
export interface Column {
  readonly name: string;
  /** A number of `mysql.Types`. */
  readonly columnType: number;
  /** The id of its collation; 63 is binary. */
  readonly characterSet: number;
  /** MariaDB's own, such as `uuid` or `vector`. */
  readonly extendedTypeName?: string;
  /** MariaDB's own, such as `json`. */
  readonly extendedFormat?: string;
}

/** The packet of a row in the text protocol: one value after the other, a NULL as `null`. */
export interface RowPacket {
  readLengthCodedString(encoding: "utf8"): string | null;
  readLengthCodedBuffer(): Buffer | null;
}

/** Takes a row; returns false when the next ones are to wait until the connection is resumed. */
export type RowSink = (row: RowPacket) => boolean;

/** Hears of a query's results while they come; a text of several statements has several, counted from 0. */
export interface ResultListener {
  /** A result with columns begins. What it or its sink throws is what the query is rejected with, once it has ended. */
  readonly onResult?: (index: number, columns: readonly Column[]) => RowSink;
  /** A result is complete, with so many rows returned or changed. */
  readonly onDone?: (index: number, rows: number) => void;
}

/** Sends one text, given in pieces, and settles with the number of rows of all its results. */
export function sendText(connection: Connection, pieces: readonly Uint8Array[], listener: ResultListener) {
  return new Promise<number>((resolve, reject) => {
    inner(connection).addCommand(new TextQuery(pieces, new Answer(connection, listener, resolve, reject)));
  });
}

/** Sends a prepared statement. */
export function sendPrepared(
  connection: Connection,
  statement: Prepared,
  parameters: readonly unknown[],
  onDone: ResultListener["onDone"],
) {
  return new Promise<number>((resolve, reject) => {
    const answer = new Answer(connection, onDone ? { onDone } : {}, resolve, reject);
    const command = statement.execute(parameters, (error) => {
      if (error) answer.fail(error);
    });
    const { readField, fieldsEOF, row, doneInsert, emit } = AnsweredQuery.prototype;
    Object.assign(command, { answer, readField, fieldsEOF, row, doneInsert, emit });
  });
}

/** The protocol's SERVER_MORE_RESULTS_EXISTS, of the status that comes with each answer. */
const moreResults = 8;

/** What the server has answered to one query so far. */
class Answer {
  readonly listener: ResultListener;
  failure: Error | undefined;
  columns = 0;
  readonly connection: Connection;
  readonly #resolve: (rows: number) => void;
  readonly #reject: (error: Error) => void;
  #sink: RowSink | undefined;
  #index = 0;
  #rows = 0;
  #rowsBefore = 0; // of the results that are complete

  constructor(
    connection: Connection,
    listener: ResultListener,
    resolve: (rows: number) => void,
    reject: (error: Error) => void,
  ) {
    this.connection = connection;
    this.listener = listener;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  begin(columns: readonly Column[]): void {
    try {
      this.#sink = this.listener.onResult?.(this.#index, columns);
    } catch (error) {
      this.failure ??= error as Error;
    }
  }

  row(packet: RowPacket): void {
    this.#rows++;
    if (!this.#sink) return;
    try {
      if (!this.#sink(packet)) this.connection.pause();
    } catch (error) {
      this.failure ??= error as Error; // the other rows are read on: else they were the next query's answer
      this.#sink = undefined;
    }
  }

  /** Ends one result; returns whether another one follows. */
  end(changedRows: number, status: number, warnings: number, info: string): boolean {
    noteStatus(this.connection, status);
    // mysql2 reads the number as a signed one. TiDB puts the length of the text before it.
    if (warnings !== 0) noteWarnings(this.connection, warnings & 0xffff, info.replace(/^.(?=R)/, ""));
    this.#rows += changedRows;
    if (!this.failure) this.listener.onDone?.(this.#index, this.#rows - this.#rowsBefore);
    this.#index++;
    this.#rowsBefore = this.#rows;
    this.#sink = undefined;
    this.columns = 0;
    if (status & moreResults) return true;
    if (this.failure) this.#reject(this.failure);
    else this.#resolve(this.#rows);
    return false;
  }

  fail(error: Error): void {
    nameError(error, this.connection);
    explainDisabled(error);
    if (this.#index > 0) Object.assign(error, { answered: this.#index });
    this.#reject(error);
  }
}

/** Reads the answer. mysql2's prepared statements take over its methods, too: the packets of both are alike. */
class AnsweredQuery extends Query {
  declare answer: Answer;

  override readField(packet: Packet, connection: InnerConnection): State | null {
    const { answer } = this;
    if (answer.listener.onResult) return super.readField(packet, connection); // after the last one it emits "fields"
    return ++answer.columns === this._fieldCount ? this.fieldsEOF : this.readField;
  }

  override fieldsEOF(): State {
    return this.row;
  }

  override emit(event: string, value: unknown): boolean {
    if (event === "fields" && value !== undefined) this.answer.begin(value as Column[]);
    return false;
  }

  override resultsetHeader(packet: Packet, connection: InnerConnection): State | null {
    if (packet.length() === headerBytes) throw new Error("The server answered with an empty packet"); // mysql2 prints a stack
    return super.resultsetHeader(packet, connection);
  }

  row(packet: Packet): State | null {
    if (packet.isEOF()) {
      const isMore = this.answer.end(0, packet.eofStatusFlags(), packet.eofWarningCount(), "");
      return isMore ? this.anotherResult() : null;
    }
    this.answer.row(packet);
    return this.row;
  }

  doneInsert({ affectedRows, serverStatus, warningStatus = 0, info, stateChanges }: Ok): State | null {
    if (this._localStream) this.answer.failure ??= endFile(this);
    const characterSet = stateChanges?.systemVariables.character_set_results;
    if (characterSet !== undefined) noteCharacterSet(this.answer.connection, characterSet);
    return this.answer.end(affectedRows, serverStatus, warningStatus, info) ? this.anotherResult() : null;
  }

  /** mysql2 keeps its results by number; here none is kept, and each is the first. */
  anotherResult(): State {
    this._fields = [];
    this._rows = [];
    return this.resultsetHeader;
  }
}

class TextQuery extends AnsweredQuery {
  readonly #pieces: readonly Uint8Array[];

  constructor(pieces: readonly Uint8Array[], answer: Answer) {
    super(noText);
    this.#pieces = pieces;
    this.answer = answer;
    this.onResult = failed; // mysql2 calls it for the server's errors, and when the connection is lost
    this.options = unusedParser;
  }

  start(_: unknown, connection: InnerConnection): State {
    connection.writePacket(new QueryPacket(this.#pieces, connection));
    return this.resultsetHeader;
  }

  override _streamLocalInfile(connection: InnerConnection, path: string): State {
    this._streamFactory = () => contentOf(connection, path, this.#pieces[0]!);
    return super._streamLocalInfile(connection, path);
  }
}
function failed(this: AnsweredQuery, error: DatabaseError & Error): void {
  if (this._localStream) endFile(this, error);
  this.answer.fail(error);
}
const noText = { sql: "" };
const unusedParser = { disableEval: true }; // mysql2 makes one for each result; this one costs nothing
const headerBytes = 4;
