/** Whether the server is there and lets us in, before anything is started that needs it. */
import type { ConnectionOptions, QueryError } from "mysql2";
import { ask, close, connect, type Host, nameOf } from "../mysql/connection.ts";
import { type DatabaseError, isTransient } from "../mysql/errors.ts";
import { reach, untilAborted } from "../mysql/reach.ts";
import type { Server } from "./config.ts";

export interface Probe {
  /** What mysql2 needs to connect to the host that answered, with TLS or without. */
  readonly db: ConnectionOptions;
  /** For people: `user@host:port/database`, with all hosts. */
  readonly where: string;
  /** Such as `10.11.19-MariaDB`. */
  readonly version: string;
}

/** As `probeServer()`, but again and again until the time is up, as long as what stands in the way may pass. */
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

/** How long one host may take to answer while there are others. */
const tryMs = 10_000;

/**
 * Connects once: proves that the server is there, asks what it is, and settles whether `PREFERRED` means TLS.
 *
 * Hosts are tried in their order; each gets its share of the time that is left.
 *
 * @throws Error with one line that says for each host where, as whom and why not; it contains no password. Its cause is of the
 * kind that passes, if one of the hosts' is.
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

/** Why there is no connection, in a few words; an error of the server itself says it best. */
export function reasonOf({ code, message }: QueryError, { host }: ConnectionOptions): string {
  if (code === "ECONNREFUSED" && host === "localhost") return `${reasons[code]} (this is TCP; for a socket: -S)`;
  if (code === "HANDSHAKE_SSL_ERROR") return `TLS failed: ${message}`;
  return reasons[code] ?? message;
}
