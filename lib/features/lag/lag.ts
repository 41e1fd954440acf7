/** Holds queries back while a replica is too far behind. */
import type { Server } from "../../command/config.ts";
import { UsageError } from "../../command/errors.ts";
import { keepLooking, Link, type Watch } from "../../command/link.ts";
import type { Gate } from "../../mp.ts";
import type { Host } from "../../mysql/connection.ts";
import type { Heartbeat } from "./heartbeat.ts";
import { Replica, shortName } from "./replica.ts";

export interface LagLimit {
  /** A replica may be so far behind; it is read each time, and may change. */
  seconds: number;
}

/** What is to be watched. */
export interface Watched {
  /** Returns the replicas that there are now. */
  find(): Promise<Server>;
  /** `find()` is to be called again and again. */
  readonly mayChange: boolean;
  /** What tells the lag. Without it, the replicas' own status is believed. */
  readonly beat?: Heartbeat | undefined;
  /** The channel of a replica with several sources, where only one counts. */
  readonly channel?: string | undefined;
  /** Is told which replicas come and go. */
  log(line: string): void;
  /** Is called once nothing is watched any more. */
  close(): void;
}

export interface LagWatch extends Watch {
  /** @throws UsageError when the limit is finer than what can be told. */
  checkLimit(): void;
}

/** After so many looks, `find()` is called again. */
const looksBetween = 6;

/**
 * Admits nothing while one of the replicas is further behind than the limit, does not replicate or cannot be reached.
 *
 * @returns the gate, and what ends its looking.
 * @throws UsageError for a server that is no replica, or may not be asked: with the GRANT that helps.
 */
export async function lagGate(limit: LagLimit, watched: Watched): Promise<LagWatch> {
  const { beat, mayChange, log } = watched;
  const replicas = new Map<string, Replica>();
  const refused = new Set<string>();
  let looks = 0;
  let isOver = false;
  let stopLooking = () => {};
  try {
    await begin();
    checkLimit();
  } catch (error) {
    stop();
    throw error;
  }
  stopLooking = keepLooking(look);
  const gate: Gate = {
    limit: (ended) => (gate.reason === undefined ? Number.POSITIVE_INFINITY : ended),
    get reason() {
      const stale = limit.seconds < Number.POSITIVE_INFINITY ? beat?.staleness(limit.seconds) : undefined;
      if (stale !== undefined) return `paused: ${stale}`;
      let worst: Replica | undefined;
      for (const replica of replicas.values()) {
        if (replica.lag.seconds > (worst?.lag.seconds ?? limit.seconds)) worst = replica;
      }
      return worst && `paused: ${worst.name} ${worst.describe()}`;
    },
  };
  return { gate, stop, checkLimit };

  async function begin(): Promise<void> {
    await beat?.look();
    const { hosts, ...server } = await watched.find();
    if (hosts.length === 0)
      throw new UsageError("--replicas auto: the server knows of none: name them, or set report_host on them");
    for (const host of hosts) replicas.set(shortName(host), open(server, host));
    await Promise.all([...replicas.values()].map((replica) => replica.begin()));
    if (!mayChange) return;
    const missing = [...replicas.values()].find(({ isThere }) => !isThere);
    if (missing)
      throw new UsageError(`--replicas auto: ${missing.name} ${missing.describe()}: name those that are to be watched`);
    log(`replicas: ${[...replicas.keys()].join(", ")}`);
  }

  /** The source first: how far a replica is behind is told by what was on the source just before. */
  async function look(): Promise<void> {
    await beat?.look().catch(() => {});
    if (mayChange && ++looks % looksBetween === 0) await findAgain().catch(() => {});
    if (!isOver) await Promise.all([...replicas.values()].map((replica) => replica.look()));
    if (isOver) close(); // once more: it may have connected meanwhile
  }

  /** Watches the replicas that have appeared. One that has gone is forgotten, unless it answers and says that it is behind. */
  async function findAgain(): Promise<void> {
    const { hosts, ...server } = await watched.find();
    const names = new Set(hosts.map(shortName));
    for (const [name, replica] of replicas) {
      if (names.has(name) || replica.isThere) continue;
      replica.link.close();
      replicas.delete(name);
      log(`replica ${name} has gone: ${replica.describe()}`);
    }
    for (const name of refused) if (!names.has(name)) refused.delete(name);
    for (const host of hosts) if (!isOver && !replicas.has(shortName(host))) await add(open(server, host));
  }

  /** What cannot be asked may be no replica, such as what reads the binary log for another purpose. */
  async function add(replica: Replica): Promise<void> {
    const { name } = replica;
    const refusal = await replica.begin().then(
      () => (replica.isThere ? undefined : replica.describe()),
      (error: Error) => error.message,
    );
    if (refusal === undefined && !isOver) {
      replicas.set(name, replica);
      log(`replica ${name} has appeared, and is watched, too`);
    } else {
      replica.link.close();
      if (!refused.has(name)) log(`replica ${name} has appeared, and is not watched: ${refusal}`);
      refused.add(name);
    }
  }

  function open({ db, tlsOptional }: Omit<Server, "hosts">, host: Host): Replica {
    const { database: _, ...account } = db; // which may not be allowed there
    const link = new Link([{ ...account, ...host }], tlsOptional);
    return new Replica(host, link, watched);
  }

  function checkLimit(): void {
    const { seconds } = limit;
    if (seconds >= 1) return;
    if (beat && !beat.hasFractions) throw new UsageError(`--max-lag ${seconds}: the heartbeat's ts has whole seconds`);
    if (!beat && ![...replicas.values()].every(({ isMember }) => isMember))
      throw new UsageError(`--max-lag ${seconds} needs --heartbeat TABLE: a replica's own status has whole seconds`);
  }

  function stop(): void {
    isOver = true;
    stopLooking();
    close();
  }

  function close(): void {
    for (const { link } of replicas.values()) link.close();
    watched.close();
  }
}
