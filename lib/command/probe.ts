/** Checks that the server can be reached and accepts the account, before the run starts anything. */
import type { ConnectionOptions, QueryError } from "mysql2";
import { ask, close, connect, type Host, nameOf } from "../mysql/connection.ts";
import { isTransient } from "../mysql/errors.ts";
import { reach } from "../mysql/reach.ts";
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

/**
 * Tries one host after the other until one answers. Asks it for its version, and finds out whether it offers TLS for `PREFERRED`.
 *
 * @param log shows a line to the user before all hosts are tried again, after a transient error. Without it, each is tried once.
 * @throws Error of one line, with user, address and reason for each host, without a password.
 */
export async function probeServer(
  { db, hosts, tlsOptional }: Server,
  timeoutSeconds: number,
  signal?: AbortSignal,
  log?: (line: string) => void,
): Promise<Probe> {
  const candidates = hosts.length > 0 ? hosts.map((address) => ({ ...db, ...address })) : [db];
  let failures: string[] = [];
  const message = () => `Cannot connect to ${failures.join("; ")}`.replace(/\p{Cc}+/gu, " ");
  const attempt = async (timeoutMs: number) => {
    const index = failures.length % candidates.length;
    if (index === 0) failures = [];
    const candidate = candidates[index]!;
    try {
      return await orWithoutTls(candidate, tlsOptional, (db) => askVersion(db, timeoutMs, signal));
    } catch (error) {
      failures.push(`${whereIs(db, hosts.slice(index, index + 1))}: ${reasonOf(error as QueryError, candidate)}`);
      throw error;
    }
  };
  try {
    const reached = await reach(attempt, {
      hosts: candidates.length,
      timeoutMs: timeoutSeconds * 1000,
      ...(candidates.length === 1 && { tryMs: 2 ** 31 - 1 }), // the range of a timer
      signal,
      mayPass: (error) => log !== undefined && isTransient(error),
      onWait: () => log?.(`${message()}: trying again for up to ${timeoutSeconds} s`),
    });
    return { ...reached, where: whereIs(db, hosts) };
  } catch (cause) {
    throw new Error(signal?.aborted ? "Interrupted before the server had answered" : message(), { cause });
  }
}

/** Calls `attempt`, and again without TLS if that is optional and the server does not offer it. */
export async function orWithoutTls<Result>(
  db: ConnectionOptions,
  tlsOptional: boolean,
  attempt: (db: ConnectionOptions) => Promise<Result>,
): Promise<Result> {
  try {
    return await attempt(db);
  } catch (error) {
    if (!tlsOptional || (error as QueryError).code !== "HANDSHAKE_NO_SSL_SUPPORT") throw error;
    const { ssl: _, ...plain } = db;
    return attempt(plain);
  }
}

async function askVersion(db: ConnectionOptions, timeoutMs: number, signal: AbortSignal | undefined) {
  const deadline = performance.now() + timeoutMs;
  const connection = await connect({ ...db, connectTimeout: timeoutMs }, signal);
  try {
    const rows = await ask(connection, "SELECT VERSION()", Math.max(1, deadline - performance.now()));
    return { db, version: String(rows[0]?.[0]) };
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
