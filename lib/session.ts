/** A worker's connection: to which host, again when it is lost, and home again when that host is back.      (worker side) */
import { close, connectionIn, type Host, isClosed, nameOf } from "./connection.ts";
import { backoffMs, type DatabaseError, isLost, isReadOnly, isUnready, passes } from "./outcome.ts";
import { exactValues } from "./rows.ts";
import { data, endRun, isDraining, type PlainError, pause, plain, post } from "./thread.ts";

/** What runs the units of work; without a `workerDo`, they are queries. */
export interface Script {
  readonly workerInit: (host: Host | undefined, connectTimeout: number) => unknown;
  readonly workerDo: ((unit: unknown, connection: unknown) => unknown) | undefined;
}

/** What a worker's `workerInit()` returned. */
export interface Session {
  readonly connection: unknown;
  /** It is not to the worker's own host: when to try that one, and how often this was done. */
  away?: { until: number; tries: number };
  /** A statement such as `USE`, whose effect would be lost with the connection. */
  lasting?: string | undefined;
  /** A transaction that a query has begun is open. */
  inTransaction?: boolean;
}

/** How long one host may take to let a worker in while there are others, or another try. */
const tryMs = 10_000;
/** The same for a host that has been away, while the worker has a connection that works. */
const homeTryMs = 3000;
/** The longest that a host which has been away is left alone. */
const homeBackoffMs = 60_000;

/** A worker's hosts in its own order, the positions of its home and of the one that it tries next. */
const places = new Map(data.workers.map((worker) => [worker, { ring: ringOf(worker), home: 0, next: 0 }]));

/** Worker 1 is at home at the first host, worker 2 at the second; the workers of one host go on at different others. */
function ringOf(worker: number): readonly (Host | undefined)[] {
  const { hosts } = data;
  const at = (worker - 1) % hosts.length;
  const others = [...hosts.slice(at + 1), ...hosts.slice(0, at)];
  const turn = Math.floor((worker - 1) / hosts.length) % others.length;
  return [hosts[at], ...others.slice(turn), ...others.slice(0, turn)];
}

/**
 * Calls `workerInit()` for one host after the other, and again while the reason for its failing may pass; `undefined` when it
 * gave up. Only when no host has let the worker in does it pause.
 */
export async function open(worker: number, { workerInit }: Script): Promise<Session | undefined> {
  const deadline = performance.now() + data.connectTimeoutMs;
  const place = places.get(worker)!;
  for (let round = 1; !isDraining(); round++) {
    let error: PlainError | undefined;
    let mayPass = false;
    for (let untried = place.ring.length; untried > 0 && !isDraining(); untried--) {
      const at = place.next++;
      const host = place.ring[at % place.ring.length];
      try {
        const share = (deadline - performance.now()) / untried;
        const connection = await workerInit(host, Math.ceil(Math.min(tryMs, Math.max(share, 1))));
        return enter(worker, at, connection);
      } catch (cause) {
        error = refuse(host, cause);
        mayPass ||= passes(cause as DatabaseError);
      }
    }
    if (!error) break;
    const waitMs = backoffMs(round);
    if (!mayPass || performance.now() + waitMs > deadline) {
      post({ type: "gone", worker, error });
      return undefined;
    }
    if (round === 1) post({ type: "waiting", error });
    await pause(waitMs);
  }
  return undefined;
}

/** The worker's session, or another one when its connection was lost while it was idle. */
export async function keep(worker: number, session: Session, script: Script): Promise<Session | undefined> {
  if (!isClosed(session.connection)) return session;
  leave(worker, session, new Error("Connection lost"));
  return open(worker, script);
}

/** Whether a worker that met this error is to open a new connection: its own is lost, or another host is the better one. */
export function mustReopen(worker: number, session: Session, error: DatabaseError): boolean {
  // After a failover, the one name of a cluster stands for another server.
  const isBetterElsewhere =
    data.hosts.length > 1
      ? isUnready(error) || isReadOnly(error)
      : isReadOnly(error) && !session.lasting && !session.inTransaction;
  if (!isLost(error) && !isBetterElsewhere) return false;
  leave(worker, session, error);
  const place = places.get(worker)!;
  if (isReadOnly(error)) place.home = place.next; // a replica may stay one: no use in coming back
  return true;
}

/** Tries from time to time, between two queries, whether the host of a worker that is away from it is back. */
export async function goHome(worker: number, session: Session, { workerInit }: Script): Promise<Session> {
  const old = connectionIn(session.connection);
  const { away } = session;
  if (session.lasting || session.inTransaction) return session;
  if (!away || !old || isDraining() || performance.now() < away.until) return session;
  const place = places.get(worker)!;
  const host = place.ring[place.home % place.ring.length];
  try {
    const connection = await workerInit(host, homeTryMs);
    place.next = place.home + 1;
    void close(old);
    return enter(worker, place.home, connection);
  } catch (cause) {
    refuse(host, cause);
    session.away = stay(away.tries + 1);
    return session;
  }
}

function enter(worker: number, at: number, connection: unknown): Session {
  const { ring, home } = places.get(worker)!;
  const host = ring[at % ring.length];
  post({ type: "connected", worker, host: host && nameOf(host) });
  if (data.rows) Object.assign(connectionIn(connection)?.config ?? {}, exactValues);
  const isHome = (at - home) % ring.length === 0;
  return isHome ? { connection } : { connection, away: stay(0) };
}

function stay(tries: number): Session["away"] & {} {
  return { until: performance.now() + backoffMs(6 + tries, homeBackoffMs), tries }; // from some seconds on
}

function leave(worker: number, { lasting, inTransaction }: Session, cause: unknown): void {
  const lost = lasting ? `what ${lasting} has set` : inTransaction ? "a transaction that was open" : undefined;
  if (lost) endRun("broken", `Cannot go on: a connection was lost, and with it ${lost}`);
  const { ring, next } = places.get(worker)!;
  refuse(ring[(next - 1) % ring.length], cause);
}

/** Tells the parent which host it was; returns what it told. */
function refuse(host: Host | undefined, cause: unknown): PlainError {
  const error = plain(cause);
  if (!host) return error;
  const named = { ...error, message: `${nameOf(host)}: ${error.message}` };
  if (data.hosts.length > 1) post({ type: "away", host: nameOf(host), error: named });
  return named;
}
