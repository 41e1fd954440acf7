/** Its `workerDo()` does what the unit is called, and should not. */
import { once } from "node:events";
import mysql, { type Connection } from "mysql2";
import { execute } from "../../lib/mysql/execute.ts";

export type Way = keyof typeof ways;

const insert = "INSERT INTO careless VALUES (1)";

const ways = {
  "a query that is not awaited": (connection: Connection) => void connection.query(insert),
  "a promise that is not awaited": (connection: Connection) => void connection.promise().query(insert),
  "a promise that rejects later": (connection: Connection) => void connection.promise().query("nonsense"),
  "a transaction left open through execute": async (connection: Connection) => {
    await execute(connection, "START TRANSACTION");
    await execute(connection, insert);
  },
  "a transaction left open through query": (connection: Connection) =>
    new Promise((resolve) => connection.query("BEGIN", () => connection.query(insert, resolve))),
  "a transaction left open through promise": async (connection: Connection) => {
    await connection.promise().beginTransaction();
    await connection.promise().query(insert);
  },
  "autocommit switched off": async (connection: Connection) => {
    await connection.promise().query("SET autocommit = 0");
    await connection.promise().query(insert);
  },
  undefined: () => Promise.reject(undefined),
  "a text": () => Promise.reject("no luck"),
  "an object": () => Promise.reject({ reason: 7 }),
  "a message that is a number": () => Promise.reject(Object.assign(new Error("x"), { message: 7 })),
  "a code that is a function": () => Promise.reject(Object.assign(new Error("no luck"), { code: () => 1 })),
  "an errno that is a text": () => Promise.reject(Object.assign(new Error("no luck"), { errno: "1213" })),
  "a symbol": () => Promise.reject(Symbol("no luck")),
  "a revoked proxy": () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return Promise.reject(proxy);
  },
  "an object that throws when it is looked at": () =>
    Promise.reject(
      Object.defineProperty(new Error("x"), "message", {
        get() {
          throw new Error("no");
        },
      }),
    ),
  "a value that cannot be sent": (connection: Connection) =>
    execute(connection, { sql: "SELECT ?", values: [() => mysql] }),
  "nothing wrong": async (connection: Connection) => {
    await connection.promise().query("START TRANSACTION");
    await connection.promise().query(insert);
    await connection.promise().commit();
    return "not a number of rows";
  },
  "a query until the signal": (connection: Connection, signal: AbortSignal) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
      void connection.promise().query("DO 0");
    }),
  "an end with the signal's reason": async (_: Connection, signal: AbortSignal) => {
    await once(signal, "abort");
    throw signal.reason;
  },
  "no end at all": () => new Promise(() => {}),
};

export function workerDo(way: Way, connection: Connection, { signal }: { signal: AbortSignal }): unknown {
  return ways[way](connection, signal);
}
