/** Interrupts running queries by `KILL QUERY`. */
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection, ConnectionOptions } from "mysql2";
import { ask, connect, destroyWith, isBusy, isVitess, streamOf } from "./connection.ts";
import { stateOf } from "./connection-state.ts";
import { backoffMs, type DatabaseError, isLost, isTransient } from "./errors.ts";
import { execute } from "./execute.ts";
import { endUnread } from "./local-infile.ts";

/**
 * Interrupts the queries that these connections are running. Opens another connection to each server, and sends `KILL QUERY`.
 *
 * The query's own answer decides its outcome. If that does not come within `graceMs`, its connection is destroyed.
 *
 * @param onKilled called for each connection after `KILL QUERY` succeeded. The caller must then read that connection's answer.
 */
export async function interrupt(
  connections: readonly Connection[],
  graceMs: number,
  onKilled: (connection: Connection) => void,
): Promise<void> {
  const servers = new Map<string, [Connection, ...Connection[]]>();
  for (const connection of connections) {
    const others = servers.get(serverOf(connection));
    if (others) others.push(connection);
    else servers.set(serverOf(connection), [connection]);
  }
  await Promise.all([...servers.values()].map((those) => interruptAt(those, graceMs, onKilled)));
}

/**
 * Returns true if the running query of a connection has been interrupted. Its answer does not tell: on any server an
 * interrupted `DO SLEEP(9)` succeeds, and on MySQL also a `SELECT SLEEP(9)`.
 */
export function isInterrupted(connection: Connection | undefined): boolean {
  return connection !== undefined && stateOf(connection).isInterrupted;
}

/** Creates the error for an interrupted query whose answer was not an error. */
export function interruption(): DatabaseError {
  return Object.assign(new Error("Query execution was interrupted"), { code: "ER_QUERY_INTERRUPTED", errno: 1317 });
}

/**
 * Returns a key for the connection's server. A thread id means another connection on another server, and one name or address
 * may lead to several servers.
 */
function serverOf(connection: Connection): string {
  const { remoteAddress, remotePort } = streamOf(connection);
  const { socketPath, host, port } = connection.config;
  const address = remoteAddress ? `${remoteAddress} ${remotePort}` : (socketPath ?? `${host} ${port}`);
  return `${address} ${stateOf(connection).identity}`;
}

async function interruptAt(
  connections: [Connection, ...Connection[]],
  graceMs: number,
  onKilled: (connection: Connection) => void,
): Promise<void> {
  const deadline = performance.now() + graceMs;
  let obstacle: DatabaseError | undefined;
  const closing = setTimeout(() => {
    const message = obstacle
      ? `KILL QUERY was not possible within ${graceMs / 1000} s: ${obstacle.message}`
      : `No answer within ${graceMs / 1000} s of KILL QUERY`;
    const error = Object.assign(new Error(message), { code: "ETIMEDOUT" });
    for (const connection of connections) destroyWith(connection, error);
  }, graceMs);
  closing.unref();
  // If KILL QUERY never succeeds, `closing` destroys the connections, unless their queries end by themselves before.
  for (let tries = 1; tries === 1 || (connections.some(isBusy) && performance.now() < deadline); tries++) {
    try {
      await killQueries(connections, deadline);
      obstacle = undefined;
      for (const connection of connections) {
        onKilled(connection);
        endUnread(connection, interruption() as Error & DatabaseError);
      }
      break;
    } catch (error) {
      obstacle = error as DatabaseError;
      if (!isTransient(obstacle) && !isLost(obstacle) && obstacle.code !== otherServer) break;
      await sleep(backoffMs(tries, 500)); // after "too many connections", one may become free
    }
  }
  // KILL QUERY may arrive just after the query has ended. Then it hits this statement instead of the next query.
  await Promise.all(connections.map((connection) => execute(connection, "DO 0").catch(() => {})));
  for (const connection of connections) stateOf(connection).isInterrupted = false;
  clearTimeout(closing);
}

/** @throws DatabaseError if their server cannot be reached, or refuses KILL QUERY. */
async function killQueries(connections: [Connection, ...Connection[]], deadline: number): Promise<void> {
  const [first] = connections;
  const leftMs = () => Math.max(1, Math.ceil(deadline - performance.now()));
  const { host, port, socketPath, user, password, ssl, authPlugins, enableCleartextPlugin, database } = first.config;
  const account = { user, password, ssl, authPlugins, enableCleartextPlugin };
  const options = { host, port, socketPath, ...account, connectTimeout: leftMs() } as ConnectionOptions;
  const { remoteAddress, remotePort } = streamOf(first);
  if (isVitess(first)) options.database = database!; // it runs no KILL without
  if (remoteAddress) options.stream = () => net.connect(remotePort!, remoteAddress); // `host` is for the certificate
  const killer = await connect(options);
  try {
    const wanted = stateOf(first).identity;
    if (wanted !== undefined && stateOf(killer).identity !== wanted) {
      throw Object.assign(new Error("a balancer leads to another server"), { code: otherServer });
    }
    for (const connection of connections) stateOf(connection).isInterrupted = true;
    for (const { threadId } of connections) {
      await ask(killer, `KILL QUERY ${threadId}`, leftMs()).catch((error: DatabaseError) => {
        if (error.errno !== noSuchThread) throw error;
      });
    }
  } finally {
    killer.destroy();
  }
}

const otherServer = "OTHER_SERVER";
const noSuchThread = 1094; // ER_NO_SUCH_THREAD: the connection is closed already
