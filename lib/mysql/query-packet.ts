/** What is sent of a query: its bytes, and nothing that looks at them. */

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
