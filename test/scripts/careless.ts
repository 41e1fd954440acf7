/** A script whose `workerDo()` makes the mistake that the unit names. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import mysql, { type Connection } from "mysql2";
import { RetryError } from "../../lib/mp.ts";
import { myglobals } from "../../lib/myglobals.ts";
import { execute } from "../../lib/mysql/execute.ts";

export type Way = keyof typeof ways;

const insert = "INSERT INTO careless VALUES (1)";

let asked = 0;

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
  "an error with causes": () =>
    Promise.reject(new TypeError("fetch failed", { cause: new Error("no\nroute", { cause: "cable" }) })),
  "several errors": () => Promise.any([1, 2, 3, 4, 5].map((n) => Promise.reject(new Error(`no ${n}`)))),
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
  "another try, twice": async (connection: Connection) => {
    await connection.promise().query("BEGIN");
    await connection.promise().query(insert);
    if (asked++ < 2) throw new RetryError("not yet", { cause: new Error("HTTP 429") });
    await connection.promise().commit();
    return 1;
  },
  "another try, always": () => Promise.reject(new RetryError("not yet", { cause: new Error("HTTP 429") })),
  "an end with the signal's reason": async (_: Connection, signal: AbortSignal) => {
    await once(signal, "abort");
    throw signal.reason;
  },
  "no end before it is told": async () => {
    const told = new Int32Array(myglobals.told as SharedArrayBuffer);
    while (Atomics.load(told, 0) === 0) await sleep(5);
  },
  "no end at all": () => new Promise(() => {}),
};

/** Makes the mistake of that name. A unit that is a number is returned. */
export function workerDo(way: Way | number, connection: Connection, { signal }: { signal: AbortSignal }): unknown {
  return typeof way === "number" ? way : ways[way](connection, signal);
}
