/** The private names of mysql2 that `lib/mysql/` uses. Another version may lack them, so the tested version is pinned. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import mysql, { type Connection } from "mysql2";
import { connect } from "../lib/mysql/connection.ts";
import { useDatabase } from "./database.ts";
import { root } from "./run.ts";

const database = await useDatabase();

const used = {
  mysql2: ["createQuery"],
  connection: [
    ...["stream", "state", "config", "serverCapabilityFlags", "sequenceId", "_command", "_isMariaDB"],
    ...["addCommand", "writePacket", "handlePacket"],
  ],
  configuration: ["clientFlags", "charsetNumber"],
  query: [
    ...["options", "onResult", "_fieldCount", "_fields", "_rows", "_localStreamError", "_streamFactory"],
    ...["_streamLocalInfile", "resultsetHeader", "readField", "fieldsEOF", "row", "doneInsert", "emit", "start"],
  ],
  execute: ["readField", "fieldsEOF", "row", "doneInsert", "emit"],
  packet: ["sequenceId", "isEOF", "eofStatusFlags", "readLengthCodedString", "readLengthCodedBuffer"],
  answer: ["affectedRows", "serverStatus", "stateChanges"],
  changes: ["systemVariables"],
  statement: ["parameters"],
};

test("mysql2 is pinned, and has each private name that lib/mysql/ uses", async (t) => {
  const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const { version } = JSON.parse(readFileSync(join(root, "node_modules/mysql2/package.json"), "utf8"));
  assert.equal(dependencies.mysql2, version, "pinned to the version that is tested");
  const connection = await connect(database.db);
  t.after(() => connection.destroy());
  const objects = await objectsOf(connection);
  for (const [what, names] of Object.entries(used)) {
    const object = objects[what as keyof typeof used];
    for (const name of names) assert.ok(name in object, `mysql2 ${version} has no ${name} in its ${what}`);
  }
});

/** Returns an object of each kind, as mysql2 creates it. */
async function objectsOf(connection: Connection): Promise<Record<keyof typeof used, object>> {
  const { createQuery } = mysql as unknown as { createQuery(...options: unknown[]): object };
  const execute = connection.execute("DO 0");
  const seen: object[] = [];
  const inner = connection as unknown as { handlePacket(packet?: object): void; addCommand(command: object): void };
  const { handlePacket } = inner;
  inner.handlePacket = (packet) => {
    if (packet) seen.push(packet);
    handlePacket.call(inner, packet);
  };
  const statement = await new Promise<object>((resolve, reject) => {
    connection.prepare("DO ?", (error, prepared) => (error ? reject(error) : resolve(prepared)));
  });
  const query = createQuery("SET NAMES latin1", {}, undefined, {}) as {
    doneInsert(answer: object): unknown;
    _streamLocalInfile(connection: object, path: string): unknown;
  };
  const answer = await new Promise<{ stateChanges: object }>((resolve) => {
    const { doneInsert } = query;
    query.doneInsert = (answer) => {
      resolve(answer as { stateChanges: object });
      return doneInsert.call(query, answer);
    };
    inner.addCommand(query);
  });
  query._streamLocalInfile({ writePacket() {} }, "no such file"); // the command keeps the error
  const configuration = connection.config;
  const packet = seen[0]!;
  return {
    mysql2: mysql,
    connection,
    configuration,
    query,
    execute,
    packet,
    answer,
    changes: answer.stateChanges,
    statement,
  };
}
