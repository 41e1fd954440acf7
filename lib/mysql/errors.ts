/** Verdict on a query that ended with an error: tables of error numbers, every row with its reason. */
import { productOf } from "./connection-state.ts";

/**
 * Verdict on a query that ended with an error.
 *
 * - `retry`: the server did not apply the query, and it is normal to try again.
 * - `reconnect`: nothing was sent, because the connection was already closed. Reconnect, then try again.
 * - `failed`: the final answer. Do not try again.
 * - `unknown`: the connection was lost after the query was written and before its answer, or the server itself does not know
 *   whether it was applied.
 */
export type Verdict = "retry" | "reconnect" | "failed" | "unknown";

/** Error of mysql2, of the server, or of the operating system. */
export interface DatabaseError {
  message: string;
  code?: string | undefined;
  readonly errno?: number | undefined;
  /** True if the connection can no longer be used. */
  fatal?: boolean | undefined;
  /** The number of results of the query that came before the error. */
  answered?: number | undefined;
  /** True if the server had the whole query before this error, and may have applied it. */
  mayHaveRun?: boolean | undefined;
}

/** Errors of a server that takes no writes, or no queries, for the moment. */
const refusals = new Set<number | undefined>([
  1290, // ER_OPTION_PREVENTS_STATEMENT: read-only, during a failover
  1836, // ER_READ_ONLY_MODE: the same
  1047, // ER_UNKNOWN_COM_ERROR: Galera's "WSREP has not yet prepared node for application use"
  3032, // ER_SERVER_OFFLINE_MODE: MySQL is being maintained
  3168, // ER_SERVER_ISNT_AVAILABLE: MySQL is starting
]);

/** Errors of a proxy that got no server connection for the query. */
const unreached = new Set<number | undefined>([
  1203, // ER_TOO_MANY_USER_CONNECTIONS, of a query: all connections of vtgate's or vttablet's pool are taken
  9001, // ProxySQL: "Max connect timeout reached while reaching hostgroup". TiDB: its placement driver does not answer
]);

/** Other errors of a query that the server has not applied. Try again. */
const retried = new Set([
  1041, // ER_OUT_OF_RESOURCES: out of memory; vttablet's "Transaction throttled"
  1213, // ER_LOCK_DEADLOCK: rolled back, "restart the transaction"; Galera's certification conflicts come as this one, too
  1205, // ER_LOCK_WAIT_TIMEOUT: the statement is rolled back; the lock's holder will be done sooner or later
  3101, // ER_TRANSACTION_ROLLBACK_DURING_COMMIT: a conflict in MySQL's group replication
  1020, // ER_CHECKREAD: record has changed since last read (innodb_snapshot_isolation); rolled back
  1792, // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION: the server's, for a moment, or the session's
  1053, // ER_SERVER_SHUTDOWN: refused, the server is going down
  8002, // TiDB: a write conflict of SELECT FOR UPDATE; for all of these its manual says to run the transaction again
  8005, // TiDB: a write conflict
  8022, // TiDB: the commit failed, and was rolled back
  8027, // TiDB: the server has lost touch with the schema, and commits nothing until it has it again
  8028, // TiDB: the table was altered meanwhile; a transaction may stay open
  9002, // TiDB: the storage does not answer; for a COMMIT that may have succeeded there is no error, the connection closes
  9003, // TiDB: the storage is busy
  9004, // TiDB: too many transactions want the same rows
  9005, // TiDB: a part of the table has no leader in the storage
  9007, // TiDB: a write conflict
  9008, // TiDB: too many requests to the storage
]);

/** TiDB's mark on errors that the query did not cause. They may have any number, mostly 1105. */
const isMarkedForRetry = /\[try again later\]/;

/** Errors after which the server closes the connection. */
const closing = new Set<number | undefined>([
  1053, // ER_SERVER_SHUTDOWN
  1153, // ER_NET_PACKET_TOO_LARGE
  1927, // ER_CONNECTION_KILLED
]);

/** Transient errors of connecting. */
const connectRetried = new Set<string | number | undefined>([
  1040, // ER_CON_COUNT_ERROR: too many connections
  1203, // ER_TOO_MANY_USER_CONNECTIONS
  1226, // ER_USER_LIMIT_REACHED: the account's max_user_connections
  1053, // ER_SERVER_SHUTDOWN
  1047, // WSREP not ready
  3032, // ER_SERVER_OFFLINE_MODE
  3168, // ER_SERVER_ISNT_AVAILABLE
  "ECONNREFUSED", // not listening yet, or no more
  "ENOENT", // no socket file yet, or no more
  "ECONNRESET", // the server, or something in between, is restarting
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EAI_AGAIN", // the name server has no answer for the moment
  "EAGAIN", // the socket's backlog is full
  "PROTOCOL_CONNECTION_LOST", // the server accepted, then closed the connection
]);

/** Names of errors that only MariaDB has. mysql2 knows MySQL's names, and MySQL uses most of these numbers for other errors. */
const mariaDBs: Record<number, string> = {
  1927: "ER_CONNECTION_KILLED",
  1969: "ER_STATEMENT_TIMEOUT",
  1977: "ER_CANNOT_CONVERT_CHARACTER",
  4025: "ER_CONSTRAINT_FAILED", // a CHECK
  4031: "ER_REFERENCED_TRG_DOES_NOT_EXIST",
  4038: "ER_JSON_SYNTAX",
  4078: "ER_ILLEGAL_PARAMETER_DATA_TYPES2_FOR_OPERATION",
  4079: "ER_ILLEGAL_PARAMETER_DATA_TYPE_FOR_OPERATION",
  4084: "ER_SEQUENCE_RUN_OUT",
  4151: "ER_ACCOUNT_HAS_BEEN_LOCKED",
  4161: "ER_UNKNOWN_DATA_TYPE",
  4166: "ER_LOAD_INFILE_CAPABILITY_DISABLED",
};

/** Sets the `code` of a MariaDB error to MariaDB's name, or to undefined if the name is not known here. */
export function nameError(error: DatabaseError, connection: object): void {
  const { errno = 0 } = error;
  if (productOf(connection).isMariaDB && (errno in mariaDBs || errno >= 4000)) error.code = mariaDBs[errno];
}

/** Returns the verdict on a query that ended with this error. */
export function verdictOf(error: DatabaseError): Verdict {
  if (error.mayHaveRun) return "unknown";
  if (error.errno !== undefined && error.errno > 0) {
    // A killed connection may have committed before the server noticed the KILL.
    if (error.errno === 1927 || isClients(error)) return "unknown"; // ER_CONNECTION_KILLED
    if (error.errno === 1317 && error.fatal) return "unknown"; // ER_QUERY_INTERRUPTED: the same on MySQL
    if (hasNoTablet(error)) return "retry";
    if (isVtgates(error)) return "unknown";
    // A Galera node has lost the others while it was committing. They may have the transaction.
    if (error.errno === 1180) return "unknown"; // ER_ERROR_DURING_COMMIT
    if (isIdleTooLong(error)) return "reconnect";
    if (isUnreached(error)) return "retry";
    return retried.has(error.errno) || isMarkedForRetry.test(error.message) ? "retry" : "failed";
  }
  if (!error.fatal) return "failed"; // thrown by mysql2 or workerDo(): never sent
  // mysql2's fatal errors without a code: nothing was sent, or mysql2 cannot read the answer.
  if (error.code === undefined) return error.message.includes("closed state") ? "reconnect" : "unknown";
  // The write itself failed, so the server did not get the whole query.
  if (error.code === "EPIPE") return "reconnect";
  return "unknown";
}

/** Returns true if the connection with this error can no longer be used. */
export function isLost(error: DatabaseError): boolean {
  return error.fatal === true || closing.has(error.errno) || isClients(error) || isIdleTooLong(error);
}

/** Returns true for a client's error, such as 2013: a proxy has lost the server. No server sends these, ProxySQL and vtgate do. */
function isClients({ errno = 0 }: DatabaseError): boolean {
  return errno >= 2000 && errno < 3000;
}

/**
 * ER_UNKNOWN_ERROR or ER_QUERY_INTERRUPTED of a vtgate that has lost a shard, or gave up waiting for it: the shard may have run
 * the query. What the shard's MySQL said has its number in the text, too. But if vttablet has killed the query, its text takes the
 * place of what MySQL said, even if that was a success.
 */
function isVtgates({ errno, message }: DatabaseError): boolean {
  if (!/^target: |\bvttablet: /.test(message)) return false;
  if (/, killing (?:connection|query) ID \d/.test(message)) return true;
  return (errno === 1105 || errno === 1317) && !/\(errno \d+\)/.test(message);
}

/** Returns true if vtgate had no tablet for the query, or that did not begin it: MySQL behind it is away, or another becomes the primary. */
function hasNoTablet({ message }: DatabaseError): boolean {
  return /^target: .*(?:no healthy tablet available|operation not allowed in state)/.test(message);
}

/** Returns true for ER_CLIENT_INTERACTION_TIMEOUT: MySQL has closed the idle connection. MariaDB's error 4031 is another one. */
function isIdleTooLong({ errno, message }: DatabaseError): boolean {
  return errno === 4031 && /inactivity/i.test(message);
}

/** Returns true if the server refuses all writes: it is a replica, or there is a failover. */
export function isReadOnly({ errno, message }: DatabaseError): boolean {
  return errno === 1792 || errno === 1836 || (errno === 1290 && /read.only/i.test(message));
}

/** Returns true if the server takes no writes, or no queries, for the moment. Callers treat it like an unreachable server. */
export function isRefusal(error: DatabaseError): boolean {
  const isOtherOption = error.errno === 1290 && !isReadOnly(error); // such as secure_file_priv
  return hasNoTablet(error) || (refusals.has(error.errno) && !isOtherOption);
}

/** Returns true if the error proves that the server has not begun the query. */
export function isUnreached(error: DatabaseError): boolean {
  return unreached.has(error.errno) || isRefusal(error);
}

/** Returns true if an error of connecting is transient. */
export function isTransient(error: DatabaseError): boolean {
  if (connectRetried.has(error.code) || connectRetried.has(error.errno)) return true;
  return isClients(error) || isCutTls(error) || hasNoTablet(error) || isVtgates(error);
}

/** Returns true if the connection was lost during the TLS handshake. mysql2 gives that the code of a wrong certificate. */
function isCutTls({ code, message }: DatabaseError): boolean {
  return code === "HANDSHAKE_SSL_ERROR" && /disconnected before secure|ECONNRESET|EPIPE|ETIMEDOUT/.test(message);
}

/** Returns the pause before the next try in ms: exponential backoff with full jitter, at most `most`. */
export function backoffMs(failedTries: number, most = 5000): number {
  return Math.random() * Math.min(most, 25 * 2 ** failedTries);
}
