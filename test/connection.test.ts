/** Compares our connection with that of the server's own client: its session variables and its handshake. */
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
/** A proxy that keeps the client's first packet, the login. */
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

/** Variables that differ in each connection. */
const passing = /^(?:timestamp|pseudo_thread_id|rand_seed\d|(?:last_)?gtid\w*|statement_id|original_commit_timestamp)$/;

test("connect() makes the same session as the client: no variable differs", async () => {
  const [theirs, ours] = [await clientVariables(), await ourVariables()];
  const names = new Set([...theirs.keys(), ...ours.keys()].filter((name) => !passing.test(name)));
  const differing = [...names].filter((name) => ours.get(name) !== theirs.get(name));
  assert.ok(names.size > 400, `${names.size} variables`);
  assert.deepEqual(
    differing.map((name) => `${name}: ${ours.get(name)}, the client's ${theirs.get(name)}`),
    [],
  );
});

/** The capability flags that may differ from the client's: mysql2 sets those of `more`, and lacks those of `less`. */
const more = { ODBC: 6, IGNORE_SIGPIPE: 12, RESERVED: 14, QUERY_ATTRIBUTES: 27 }; // without effect, or unknown to MariaDB
const less = { LOCAL_FILES: 7, SSL: 11, PS_MULTI_RESULTS: 18, DEPRECATE_EOF: 24, MULTI_FACTOR_AUTHENTICATION: 28 }; // LOCAL_FILES only with --local-infile, and SSL not on a socket

test("connect() sends the client's capability flags, except those without effect on a text query", async () => {
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

/** Returns the numbers of the capability flags in a login packet: the first 32 bits after its header. */
function flagsIn(packet: Buffer): number[] {
  const flags = packet.readUInt32LE(4);
  return Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => (flags >>> bit) & 1);
}
