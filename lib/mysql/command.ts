/**
 * Query commands that extend mysql2's to send bytes and to keep no rows.
 *
 * A text is sent as its bytes, as the clients do. mysql2 would encode it again after `SET NAMES latin1`. mysql2's own states
 * read the answer, except for the rows. Rows without a listener are only counted, the others are passed on as raw packets.
 * This needs no event listeners and no options object per query, which cost more than the rest of mysql2 together.
 */
import type { Connection } from "mysql2";
import { noteStatus, noteWarnings, stateOf } from "./connection-state.ts";
import { type DatabaseError, nameError } from "./errors.ts";
import { contentOf, endFile, explainDisabled } from "./local-infile.ts";
import {
  type InnerConnection,
  inner,
  type Ok,
  type Packet,
  Query,
  QueryPacket,
  type RowPacket,
  type State,
} from "./mysql2-query.ts";
import type { Prepared } from "./prepared.ts";

/** A column as mysql2 describes it. */
export interface Column {
  readonly name: string;
  /** A number of `mysql.Types`. */
  readonly columnType: number;
  /** Id of its collation. 63 is binary. */
  readonly characterSet: number;
  /** Type that only MariaDB has, such as `uuid` or `vector`. */
  readonly extendedTypeName?: string;
  /** Format that only MariaDB has, such as `json`. */
  readonly extendedFormat?: string;
}

/** Takes a row. Returns false to pause the connection after it. */
export type RowSink = (row: RowPacket) => boolean;

/** Callbacks for the results of a query while they arrive. A text of several statements has several results, counted from 0. */
export interface ResultListener {
  /** Called when a result with columns begins. If it or its sink throws, the query rejects with that error once it has ended. */
  readonly onResult?: (index: number, columns: readonly Column[]) => RowSink;
  /** If true, `onResult` gets no columns. mysql2 cannot read their names in every character set of results. */
  readonly withoutColumns?: true;
  /** Called when a result is complete, with its number of rows returned or changed. */
  readonly onDone?: (index: number, rows: number) => void;
}

/** Sends one text, given in pieces. Resolves to the number of rows of all its results. */
export function sendText(connection: Connection, pieces: readonly Uint8Array[], listener: ResultListener) {
  return new Promise<number>((resolve, reject) => {
    inner(connection).addCommand(new TextQuery(pieces, new Answer(connection, listener, resolve, reject)));
  });
}

/** Executes a prepared statement. Resolves to the number of rows. */
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

const moreResults = 8; // SERVER_MORE_RESULTS_EXISTS

/** Answer of the server to one query, as far as it has arrived. */
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
  #rowsBefore = 0; // of complete results

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
      this.failure ??= error as Error; // read the other rows: otherwise the next query would get them
      this.#sink = undefined;
    }
  }

  /** Ends one result. Returns true if another one follows. */
  end(changedRows: number, status: number, warnings: number, info: string): boolean {
    noteStatus(this.connection, status);
    // mysql2 reads the number as a signed one. TiDB puts the length of the text before it.
    if (warnings !== 0) noteWarnings(this.connection, { count: warnings & 0xffff, info: info.replace(/^.(?=R)/, "") });
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

/** Command that reads an answer. `sendPrepared()` copies its methods onto mysql2's, because the packets of both are alike. */
class AnsweredQuery extends Query {
  declare answer: Answer;

  override readField(packet: Packet, connection: InnerConnection): State | null {
    const { answer } = this;
    const { onResult, withoutColumns } = answer.listener;
    if (onResult && !withoutColumns) return super.readField(packet, connection); // after the last one it emits "fields"
    return ++answer.columns === this._fieldCount ? this.fieldsEOF : this.readField;
  }

  override fieldsEOF(): State {
    if (this.answer.listener.withoutColumns) this.answer.begin([]);
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
    if (characterSet !== undefined) stateOf(this.answer.connection).needsUtf8 = characterSet !== "utf8mb4";
    return this.answer.end(affectedRows, serverStatus, warningStatus, info) ? this.anotherResult() : null;
  }

  /** Resets mysql2's state, so that it takes each result for the first. mysql2 would keep all results, by number. */
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
    this._streamFactory = () => contentOf(path, this.#pieces[0]!);
    return super._streamLocalInfile(connection, path);
  }
}
function failed(this: AnsweredQuery, error: DatabaseError & Error): void {
  if (this._localStream) endFile(this, error);
  this.answer.fail(error);
}
const noText = { sql: "" };
const unusedParser = { disableEval: true }; // mysql2 makes a row parser for each result; this one costs nothing
const headerBytes = 4;
