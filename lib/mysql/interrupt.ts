/** Interrupting what connections are running. */
import net from "node:net";
import type { Connection, ConnectionOptions } from "mysql2";
import { connect, sever, streamOf } from "./connection.ts";
import { execute } from "./execute.ts";

/**
 * Interrupts what these connections are running: `KILL QUERY` from a connection of its own to each server.
 *
 * The answer to the query decides what became of it. When even that does not come within `graceMs`, the connection is closed.
 */
export async function interrupt(connections: readonly Connection[], graceMs: number): Promise<void> {
  const servers = new Map<string, [Connection, ...Connection[]]>();
  for (const connection of connections) {
    const others = servers.get(serverOf(connection));
    if (others) others.push(connection);
    else servers.set(serverOf(connection), [connection]);
  }
  await Promise.all([...servers.values()].map((those) => interruptAt(those, graceMs)));
}

/** The same number of a connection is somebody else's on another server, and one name may stand for several. */
function serverOf(connection: Connection): string {
  const { remoteAddress, remotePort } = streamOf(connection);
  const { socketPath, host, port } = connection.config;
  return remoteAddress ? `${remoteAddress} ${remotePort}` : (socketPath ?? `${host} ${port}`);
}

async function interruptAt(connections: [Connection, ...Connection[]], graceMs: number): Promise<void> {
  const [first] = connections;
  const closing = setTimeout(() => {
    const error = Object.assign(new Error(`No answer within ${graceMs / 1000} s of KILL QUERY`), { code: "ETIMEDOUT" });
    for (const connection of connections) sever(connection, error);
  }, graceMs);
  closing.unref();
  try {
    const { host, port, socketPath, user, password, ssl } = first.config;
    const options = { host, port, socketPath, user, password, ssl, connectTimeout: graceMs } as ConnectionOptions;
    const { remoteAddress, remotePort } = streamOf(first);
    if (remoteAddress) options.stream = () => net.connect(remotePort!, remoteAddress); // the name is for the certificate
    const killer = await connect(options);
    for (const { threadId } of connections) await execute(killer, `KILL QUERY ${threadId}`).catch(() => {}); // it is gone
    killer.destroy();
  } catch {} // nobody can tell the server: unless the query ends by itself, its connection is closed when the time is up
  // KILL QUERY may come too late, when the query has just ended: what it hits then is this, and not the next query.
  await Promise.all(connections.map((connection) => execute(connection, "DO 0").catch(() => {})));
  clearTimeout(closing);
}
