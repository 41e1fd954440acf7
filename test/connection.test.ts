/** A connection of ours is to a server what its own client's is: the same session, and the same said at the handshake. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import net from "node:net";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { connect } from "../lib/mysql/connection.ts";
import { textRows } from "../lib/mysql/execute.ts";
import { useDatabase } from "./database.ts";
import { target } from "./target.ts";

const { db } = await useDatabase();
const between = `${db.socketPath}-between`;
let login = Buffer.alloc(0);
/** Passes everything on, and keeps what the client says first. */
const proxy = net.createServer((client) => {
  const upstream = net.connect(db.socketPath);
  client.once("data", (bytes) => {
    login = bytes;
  });
  for (const stream of [client, upstream]) stream.on("error", () => {});
  client.pipe(upstream).pipe(client);
});
await new Promise<void>((resolve) => proxy.listen(between, resolve));
after(() => {
  proxy.close();
  rmSync(between, { force: true });
});

/** What differs from one connection to the next, whoever makes them. */
const passing = /^(?:timestamp|pseudo_thread_id|rand_seed\d|(?:last_)?gtid\w*|statement_id|original_commit_timestamp)$/;

test("connect() makes the session that the client makes: no variable differs", async () => {
  const [theirs, ours] = [await clientVariables(), await ourVariables()];
  const names = new Set([...theirs.keys(), ...ours.keys()].filter((name) => !passing.test(name)));
  const differing = [...names].filter((name) => ours.get(name) !== theirs.get(name));
  assert.ok(names.size > 400, `${names.size} variables`);
  assert.deepEqual(
    differing.map((name) => `${name}: ${ours.get(name)}, the client's ${theirs.get(name)}`),
    [],
  );
});

/** The bits of the protocol in which we may differ from a client; mysql2 sets the ones, and does not know the others. */
const more = { ODBC: 6, IGNORE_SIGPIPE: 12, RESERVED: 14, QUERY_ATTRIBUTES: 27 }; // of no effect, or not known to MariaDB
const less = { LOCAL_FILES: 7, SSL: 11, PS_MULTI_RESULTS: 18, DEPRECATE_EOF: 24, MULTI_FACTOR_AUTHENTICATION: 28 }; // the first with --local-infile only; a socket needs no TLS

test("connect() says of itself what the client says, but for what makes no difference to a text", async () => {
  await clientVariables();
  const theirs = flagsIn(login);
  await ourVariables();
  const ours = flagsIn(login);
  const without = (bits: number[], other: number[]) => bits.filter((bit) => !other.includes(bit));
  assert.deepEqual(without(without(ours, theirs), Object.values(more)), [], "more");
  assert.deepEqual(without(without(theirs, ours), Object.values(less)), [], "less");
});

async function clientVariables(): Promise<Map<string, string>> {
  const args = [...target.clientArgs, "-S", between, "-u", "root", "-D", "myscript", "-NB"];
  const { stdout } = await promisify(execFile)(target.client, [...args, "-e", "SHOW SESSION VARIABLES"], {
    maxBuffer: 1 << 24,
  });
  return new Map(
    stdout
      .trimEnd()
      .split("\n")
      .map((line) => line.split("\t") as [string, string]),
  );
}

async function ourVariables(): Promise<Map<string, string>> {
  const connection = await connect({ ...db, socketPath: between });
  try {
    return new Map((await textRows(connection, "SHOW SESSION VARIABLES")) as [string, string][]);
  } finally {
    connection.destroy();
  }
}

/** The numbers of the capability flags in a login: the first 32 bits behind the header of its packet. */
function flagsIn(packet: Buffer): number[] {
  const flags = packet.readUInt32LE(4);
  return Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => (flags >>> bit) & 1);
}
