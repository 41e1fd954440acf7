/** What of mysql2 is taken over. It exports the class by its function alone, and its types do not have it. */
import type { Readable } from "node:stream";
import mysql, { type Connection } from "mysql2";
import type { RowPacket } from "./command.ts";
import type { FileQuery } from "./local-infile.ts";
import type { QueryPacket } from "./query-packet.ts";

export interface Packet extends RowPacket {
  /** In bytes, its header among them. */
  length(): number;
  isEOF(): boolean;
  eofStatusFlags(): number;
}
/** The server's answer to what returns no rows. */
export interface Ok {
  readonly affectedRows: number;
  readonly serverStatus: number;
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
