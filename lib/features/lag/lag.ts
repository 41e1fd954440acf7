/** Watches replicas that may be too far behind. */
import type { Server } from "../../command/config.ts";
import { UsageError } from "../../command/errors.ts";
import { Link, type Watch, watch } from "../../command/link.ts";
import type { Host } from "../../mysql/connection.ts";
import type { Heartbeat } from "./heartbeat.ts";
import { Replica, shortName } from "./replica.ts";

export interface LagLimit {
  /** Largest allowed lag. It may change, because the gate reads it each time. */
  seconds: number;
}

/** Replicas to watch. */
export interface Watched {
  /** Returns the current replicas. */
  find(): Promise<Server>;
  /** True if `find()` must be called again and again. */
  readonly mayChange: boolean;
  /** Heartbeat that shows the lag. Without it, the replicas' own status does. */
  readonly beat?: Heartbeat | undefined;
  /** The channel to watch on a replica with several sources. @default all */
  readonly channel?: string | undefined;
  /** Shows a line to the user when a replica appears or disappears. */
  log(line: string): void;
  /** Is called when watching has stopped. It may be called twice. */
  close(): void;
}

export interface LagWatch extends Watch {
  /** @throws UsageError if the limit is finer than the lag can be measured. */
  checkLimit(): void;
}

/** Looks after which `find()` is called again. */
const looksBetween = 6;

/**
 * Watches for a replica that is further behind than the limit, does not replicate or cannot be reached.
 *
 * @throws UsageError for a server that is not a replica, or with the missing GRANT if the account may not see its status.
 */
export async function watchLag(limit: LagLimit, watched: Watched): Promise<LagWatch> {
  const { beat } = watched;
  const replicas = new Replicas(watched);
  const lag = await watch({
    async begin() {
      await replicas.begin();
      checkLimit();
    },
    look: () => replicas.look(),
    reason() {
      const stale = limit.seconds < Number.POSITIVE_INFINITY ? beat?.staleness(limit.seconds) : undefined;
      if (stale !== undefined) return `paused: ${stale}`;
      let worst: Replica | undefined;
      for (const replica of replicas.all) {
        if (replica.lag.seconds > (worst?.lag.seconds ?? limit.seconds)) worst = replica;
      }
      return worst && `paused: ${worst.name} ${worst.describe()}`;
    },
    close: () => replicas.close(),
  });
  return Object.assign(lag, { checkLimit });

  function checkLimit(): void {
    const { seconds } = limit;
    if (seconds >= 1) return;
    if (beat && !beat.hasFractions) throw new UsageError(`--max-lag ${seconds}: the heartbeat's ts has whole seconds`);
    if (!beat && !replicas.all.every(({ isMember }) => isMember))
      throw new UsageError(`--max-lag ${seconds} needs --heartbeat TABLE: a replica's own status has whole seconds`);
  }
}

/** The replicas that are watched. They may come and go. */
class Replicas {
  readonly #watched: Watched;
  readonly #replicas = new Map<string, Replica>();
  readonly #refused = new Set<string>();
  #looks = 0;
  #isOver = false;

  constructor(watched: Watched) {
    this.#watched = watched;
  }

  get all(): Replica[] {
    return [...this.#replicas.values()];
  }

  async begin(): Promise<void> {
    const { beat, mayChange, log } = this.#watched;
    await beat?.look();
    const { hosts, ...server } = await this.#watched.find();
    if (hosts.length === 0)
      throw new UsageError("--replicas auto: the server knows of none: name them, or set report_host on them");
    for (const host of hosts) this.#replicas.set(shortName(host), this.#open(server, host));
    await Promise.all(this.all.map((replica) => replica.begin()));
    if (!mayChange) return;
    const missing = this.all.find(({ isThere }) => !isThere);
    if (missing)
      throw new UsageError(`--replicas auto: ${missing.name} ${missing.describe()}: name those that are to be watched`);
    log(`replicas: ${[...this.#replicas.keys()].join(", ")}`);
  }

  /** Reads the heartbeat of the source first, because the replicas are compared with it. */
  async look(): Promise<void> {
    const { beat, mayChange } = this.#watched;
    await beat?.look().catch(() => {});
    if (mayChange && ++this.#looks % looksBetween === 0) await this.#findAgain().catch(() => {});
    if (!this.#isOver) await Promise.all(this.all.map((replica) => replica.look()));
  }

  close(): void {
    this.#isOver = true;
    for (const { link } of this.all) link.close();
    this.#watched.close();
  }

  /** Begins to watch new replicas. Stops watching a replica that has disappeared and does not answer as one any more. */
  async #findAgain(): Promise<void> {
    const { hosts, ...server } = await this.#watched.find();
    const names = new Set(hosts.map(shortName));
    for (const [name, replica] of this.#replicas) {
      if (names.has(name) || replica.isThere) continue;
      replica.link.close();
      this.#replicas.delete(name);
      this.#watched.log(`replica ${name} has gone: ${replica.describe()}`);
    }
    for (const name of this.#refused) if (!names.has(name)) this.#refused.delete(name);
    for (const host of hosts) {
      if (!this.#isOver && !this.#replicas.has(shortName(host))) await this.#add(this.#open(server, host));
    }
  }

  /** Watches a new replica if it answers. Otherwise it may be another reader of the binary log. */
  async #add(replica: Replica): Promise<void> {
    const { name } = replica;
    const { log } = this.#watched;
    const refusal = await replica.begin().then(
      () => (replica.isThere ? undefined : replica.describe()),
      (error: Error) => error.message,
    );
    if (refusal === undefined && !this.#isOver) {
      this.#replicas.set(name, replica);
      log(`replica ${name} has appeared, and is watched, too`);
    } else {
      replica.link.close();
      if (!this.#refused.has(name)) log(`replica ${name} has appeared, and is not watched: ${refusal}`);
      this.#refused.add(name);
    }
  }

  #open({ db, tlsOptional }: Omit<Server, "hosts">, host: Host): Replica {
    const { database: _, ...account } = db; // the account may lack rights on the database there
    const link = new Link([{ ...account, ...host }], tlsOptional);
    return new Replica(host, link, this.#watched);
  }
}
