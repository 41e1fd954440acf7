/** Interrupting what connections are running. */
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection, ConnectionOptions } from "mysql2";
import { ask, connect, isBusy, sever, streamOf } from "./connection.ts";
import { backoffMs, type DatabaseError, isLost, isTransient } from "./errors.ts";
import { execute } from "./execute.ts";
import { endUnread } from "./local-infile.ts";
import { identityOf } from "./server-state.ts";

/**
 * Interrupts what these connections are running: `KILL QUERY` from a connection of its own to each server.
 *
 * The answer to the query decides what became of it. When even that does not come within `graceMs`, the connection is closed.
 *
 * @param onKilled is called for each connection when the server has taken `KILL QUERY` for it: from then on its answer must be read.
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
 * Whether what a connection is running has been interrupted. An answer without an error does not tell: on any server an
 * interrupted `DO SLEEP(9)` succeeds, and on MySQL a `SELECT SLEEP(9)`, too.
 */
export function isInterrupted(connection: Connection): boolean {
  return interrupted.has(connection);
}

/** What is thrown where an interrupted query has failed, though its answer is no error. */
export function interruption(): DatabaseError {
  return Object.assign(new Error("Query execution was interrupted"), { code: "ER_QUERY_INTERRUPTED", errno: 1317 });
}

const interrupted = new WeakSet<Connection>();

/** The same number of a connection is somebody else's on another server, and one name or address may stand for several. */
function serverOf(connection: Connection): string {
  const { remoteAddress, remotePort } = streamOf(connection);
  const { socketPath, host, port } = connection.config;
  const address = remoteAddress ? `${remoteAddress} ${remotePort}` : (socketPath ?? `${host} ${port}`);
  return `${address} ${identityOf(connection)}`;
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
    for (const connection of connections) sever(connection, error);
  }, graceMs);
  closing.unref();
  // Where nobody can tell the server, the connection is closed when the time is up, unless the query ends by itself.
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
      await sleep(backoffMs(tries, 500)); // where there are too many, one may become free
    }
  }
  // KILL QUERY may come too late, when the query has just ended: what it hits then is this, and not the next query.
  await Promise.all(connections.map((connection) => execute(connection, "DO 0").catch(() => {})));
  for (const connection of connections) interrupted.delete(connection);
  clearTimeout(closing);
}

/** @throws DatabaseError when no connection to their server is to be had, or the server does not take KILL QUERY. */
async function killQueries(connections: [Connection, ...Connection[]], deadline: number): Promise<void> {
  const [first] = connections;
  const leftMs = () => Math.max(1, Math.ceil(deadline - performance.now()));
  const { host, port, socketPath, user, password, ssl, authPlugins, enableCleartextPlugin } = first.config;
  const account = { user, password, ssl, authPlugins, enableCleartextPlugin };
  const options = { host, port, socketPath, ...account, connectTimeout: leftMs() } as ConnectionOptions;
  const { remoteAddress, remotePort } = streamOf(first);
  if (remoteAddress) options.stream = () => net.connect(remotePort!, remoteAddress); // the name is for the certificate
  const killer = await connect(options);
  try {
    const wanted = identityOf(first);
    if (wanted !== undefined && identityOf(killer) !== wanted) {
      throw Object.assign(new Error("a balancer leads to another server"), { code: otherServer });
    }
    for (const connection of connections) interrupted.add(connection);
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
const noSuchThread = 1094; // ER_NO_SUCH_THREAD: it is gone
