/** Checks that the server can be reached and accepts the account, before the run starts anything. */
import type { ConnectionOptions, QueryError } from "mysql2";
import { ask, close, connect, type Host, nameOf } from "../mysql/connection.ts";
import { type DatabaseError, isTransient } from "../mysql/errors.ts";
import { reach, untilAborted } from "../mysql/reach.ts";
import type { Server } from "./config.ts";

/** A server that has answered. */
export interface Probe {
  /** Options for mysql2 to connect to the host that answered. They have `ssl` only if that host uses TLS. */
  readonly db: ConnectionOptions;
  /** All hosts, for messages: `user@host:port/database`. */
  readonly where: string;
  /** Version of the server, such as `10.11.19-MariaDB`. */
  readonly version: string;
}

/** Calls `probeServer()` until it succeeds, or the timeout is over, or the error is not transient. */
export function reachServer(
  server: Server,
  timeoutSeconds: number,
  log: (line: string) => void,
  signal?: AbortSignal,
): Promise<Probe> {
  return reach((timeoutMs) => probeServer(server, timeoutMs / 1000, signal), {
    timeoutMs: timeoutSeconds * 1000,
    tryMs: Number.POSITIVE_INFINITY,
    ...untilAborted(signal),
    mayPass: (error) => isTransient((error as Error).cause as DatabaseError),
    onWait: ({ message }) => log(`${message}: trying again for up to ${timeoutSeconds} s`),
  });
}

/** The most time in ms for one host, if there are several. */
const tryMs = 10_000;

/**
 * Tries each host once until one answers. Asks it for its version, and finds out whether it offers TLS for `PREFERRED`.
 *
 * Tries hosts in their order. Each gets an equal share of the time that is left.
 *
 * @throws Error of one line, with user, address and reason for each host, without a password. Its cause is a transient error
 * if one of the hosts had one.
 */
export async function probeServer(
  { db, hosts, tlsOptional }: Server,
  timeoutSeconds: number,
  signal?: AbortSignal,
): Promise<Probe> {
  const candidates = hosts.length > 0 ? hosts.map((address) => ({ ...db, ...address })) : [db];
  const deadline = Date.now() + timeoutSeconds * 1000;
  const failures: string[] = [];
  let cause: unknown;
  const most = candidates.length > 1 ? tryMs : 2 ** 31 - 1; // the range of a timer
  for (const [index, candidate] of candidates.entries()) {
    const share = Math.ceil((deadline - Date.now()) / (candidates.length - index));
    const timeoutMs = Math.min(Math.max(share, 1), most);
    try {
      return { ...(await connectMaybeTls(candidate, tlsOptional, timeoutMs, signal)), where: whereIs(db, hosts) };
    } catch (error) {
      if (signal?.aborted) throw new Error("Interrupted before the server had answered", { cause: error });
      if (!isTransient((cause ?? {}) as DatabaseError)) cause = error;
      failures.push(`${whereIs(db, hosts.slice(index, index + 1))}: ${reasonOf(error as QueryError, candidate)}`);
    }
  }
  const message = `Cannot connect to ${failures.join("; ")}`.replace(/\p{Cc}+/gu, " ");
  throw Object.assign(new Error(message, { cause }), { code: (cause as DatabaseError).code });
}

async function connectMaybeTls(
  db: ConnectionOptions,
  tlsOptional: boolean,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<{ db: ConnectionOptions; version: string }> {
  try {
    return { db, version: await askVersion(db, timeoutMs, signal) };
  } catch (error) {
    if (!tlsOptional || (error as QueryError).code !== "HANDSHAKE_NO_SSL_SUPPORT") throw error;
    const { ssl: _, ...plain } = db;
    return connectMaybeTls(plain, false, timeoutMs, signal);
  }
}

async function askVersion(db: ConnectionOptions, timeoutMs: number, signal: AbortSignal | undefined): Promise<string> {
  const deadline = performance.now() + timeoutMs;
  const connection = await connect({ ...db, connectTimeout: timeoutMs }, signal);
  try {
    const rows = await ask(connection, "SELECT VERSION()", Math.max(1, deadline - performance.now()));
    return String(rows[0]?.[0]);
  } finally {
    await close(connection);
  }
}

function whereIs({ user, socketPath, database }: ConnectionOptions, hosts: readonly Host[]): string {
  return `${user}@${socketPath ?? hosts.map(nameOf).join(",")}${database === undefined ? "" : `/${database}`}`;
}

const reasons: Record<string, string> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "the server closed the connection",
  PROTOCOL_CONNECTION_LOST: "the server closed the connection",
  EHOSTUNREACH: "host unreachable",
  ENETUNREACH: "network unreachable",
  ENOTFOUND: "unknown host",
  EAI_AGAIN: "unknown host, because the name server does not answer",
  ENOENT: "no such socket",
  EACCES: "permission denied",
  ETIMEDOUT: "no answer in time",
  PROTOCOL_SEQUENCE_TIMEOUT: "no answer in time",
  HANDSHAKE_NO_SSL_SUPPORT: "the server offers no TLS",
};

/** Returns the reason why there is no connection, in a few words. Returns an error of the server itself as it is. */
export function reasonOf({ code, message }: QueryError, { host }: ConnectionOptions): string {
  if (code === "ECONNREFUSED" && host === "localhost") return `${reasons[code]} (this is TCP; for a socket: -S)`;
  if (code === "HANDSHAKE_SSL_ERROR") return `TLS failed: ${message}`;
  return reasons[code] ?? message;
}
