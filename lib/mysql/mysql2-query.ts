/** Private parts of mysql2 that `command.ts` extends. mysql2 exports no query class, so it is taken from an instance. */
import type { Readable } from "node:stream";
import mysql, { type Connection } from "mysql2";
import type { FileQuery } from "./local-infile.ts";

/** Packet of a row in the text protocol. Each call reads the next value. A NULL is `null`. */
export interface RowPacket {
  readLengthCodedString(encoding: "utf8"): string | null;
  readLengthCodedBuffer(): Buffer | null;
}

export interface Packet extends RowPacket {
  /** Returns the length in bytes, with the header. */
  length(): number;
  isEOF(): boolean;
  eofStatusFlags(): number;
  /** Returns the number of warnings as a signed number, though the server's is unsigned. */
  eofWarningCount(): number;
}
/** OK packet: the answer to a statement that returns no rows. */
export interface Ok {
  readonly affectedRows: number;
  readonly serverStatus: number;
  readonly warningStatus?: number;
  readonly info: string;
  readonly stateChanges?: { readonly systemVariables: { readonly character_set_results?: string } } | null;
}
export interface InnerConnection {
  readonly config: { readonly clientFlags: number };
  readonly serverCapabilityFlags: number;
  addCommand(command: object): void;
  writePacket(packet: QueryPacket): void;
}
/** Reads a packet. Returns the state that reads the next one, or null after the last. */
export type State = (packet: Packet, connection: InnerConnection) => State | null;
declare class MysqlQuery {
  constructor(options: { readonly sql: string });
  options: object;
  onResult: (error: Error) => void;
  readonly _fieldCount: number;
  readonly _localStream: FileQuery["_localStream"];
  _streamFactory: () => Readable;
  _unpipeStream(): void;
  _streamLocalInfile(connection: InnerConnection, path: string): State;
  _fields: unknown[];
  _rows: unknown[];
  resultsetHeader(packet: Packet, connection: InnerConnection): State | null;
  readField(packet: Packet, connection: InnerConnection): State | null;
  fieldsEOF(packet: Packet, connection: InnerConnection): State | null;
  emit(event: string, value: unknown): boolean;
}
const { createQuery } = mysql as unknown as {
  createQuery(sql: string, config: object, callback: undefined, options: object): object;
};
export const Query = createQuery("", [], undefined, {}).constructor as typeof MysqlQuery;

export function inner(connection: Connection): InnerConnection {
  return connection as unknown as InnerConnection;
}

/** Capability flags of client and server. */
export interface Capabilities {
  readonly config: { readonly clientFlags: number };
  readonly serverCapabilityFlags: number;
}

const queryCommand = 3; // COM_QUERY
const queryAttributes = 1 << 27; // CLIENT_QUERY_ATTRIBUTES: two more bytes say that there are none
const headerBytes = 4;
/** Largest packet of the protocol. A longer text is split into several. If it fills the last one, an empty one must follow. */
const packetBytes = 0xffffff;

/** Returns the number of bytes before the text in a packet. */
export function bytesBefore({ config, serverCapabilityFlags }: Capabilities): number {
  return (config.clientFlags & serverCapabilityFlags & queryAttributes) !== 0 ? 3 : 1;
}

/** COM_QUERY packet of a text given in pieces, in the form that mysql2 writes to a connection. */
export class QueryPacket {
  readonly buffer: Buffer;

  constructor(pieces: readonly Uint8Array[], capabilities: Capabilities) {
    const before = bytesBefore(capabilities);
    let at = headerBytes + before;
    let bytes = at;
    for (const piece of pieces) bytes += piece.length;
    const isFull = (bytes - headerBytes) % packetBytes === 0; // mysql2 sends no empty packet: a trailing blank avoids the need
    this.buffer = Buffer.allocUnsafe(isFull ? bytes + 1 : bytes);
    if (isFull) this.buffer[bytes] = 0x20;
    this.buffer[headerBytes] = queryCommand;
    if (before > 1) {
      this.buffer[headerBytes + 1] = 0;
      this.buffer[headerBytes + 2] = 1;
    }
    for (const piece of pieces) {
      this.buffer.set(piece, at);
      at += piece.length;
    }
  }

  length(): number {
    return this.buffer.length - headerBytes;
  }

  writeHeader(sequenceId: number): void {
    this.buffer.writeUIntLE(this.length(), 0, 3);
    this.buffer[3] = sequenceId;
  }
}
