/** What of mysql2 is taken over. It exports the class by its function alone, and its types do not have it. */
import type { Readable } from "node:stream";
import mysql, { type Connection } from "mysql2";
import type { RowPacket } from "./command.ts";
import type { FileQuery } from "./local-infile.ts";

export interface Packet extends RowPacket {
  /** In bytes, its header among them. */
  length(): number;
  isEOF(): boolean;
  eofStatusFlags(): number;
  /** The number is signed, though the server's is not. */
  eofWarningCount(): number;
}
/** The server's answer to what returns no rows. */
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
/** Reads the next packet, and returns what reads the one after it; null after the last. */
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

/** What client and server have agreed on. */
export interface Capabilities {
  readonly config: { readonly clientFlags: number };
  readonly serverCapabilityFlags: number;
}

const queryCommand = 3; // COM_QUERY
const queryAttributes = 1 << 27; // CLIENT_QUERY_ATTRIBUTES: two more numbers say that there are none
const headerBytes = 4;
/** The protocol's: a longer text is sent in several, and one that fills the last of them needs an empty one. */
const packetBytes = 0xffffff;

/** How many bytes of a packet stand before the text. */
export function bytesBefore({ config, serverCapabilityFlags }: Capabilities): number {
  return (config.clientFlags & serverCapabilityFlags & queryAttributes) !== 0 ? 3 : 1;
}

/** The packet of a text that is given in pieces, as mysql2 writes packets to a connection. */
export class QueryPacket {
  readonly buffer: Buffer;

  constructor(pieces: readonly Uint8Array[], capabilities: Capabilities) {
    const before = bytesBefore(capabilities);
    let at = headerBytes + before;
    let bytes = at;
    for (const piece of pieces) bytes += piece.length;
    const isFull = (bytes - headerBytes) % packetBytes === 0; // mysql2 sends no empty one: a blank is as good
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
