/** What the flags ask for that holds queries back: a rate, a loaded server, a replica that is behind, and the job log. */
import type { ConnectionOptions } from "mysql2";
import type { Host } from "../mp.ts";
import { nameOf } from "../mysql/connection.ts";
import type { Server } from "./config.ts";
import type { Flags } from "./flags.ts";
import { loadGate, nearGate, rateGate } from "./gates.ts";
import type { Hook } from "./hook.ts";
import { openJournal } from "./journal.ts";
import { lagGate } from "./lag.ts";
import { Link } from "./link.ts";

/** Adds a hook for each. */
export async function addHolds(
  flags: Flags,
  { db, hosts, replicas }: { db: ConnectionOptions; hosts: readonly Host[] | undefined; replicas: Server | undefined },
  hooks: Hook[],
): Promise<void> {
  const { joblog, resume, retryFailed, retryUnknown, idempotent, ledger, workers, shard } = flags;
  const { rate, maxLoad, maxLagSeconds, heartbeat } = flags;
  if (rate !== undefined) hooks.push({ options: { gates: [rateGate(rate, workers)] } });
  if (maxLoad.length > 0) {
    // The most loaded host decides: in a cluster, what one of them writes is work for all.
    const looking = hosts?.map((host) => loadGate({ ...db, ...host }, maxLoad, nameOf(host))) ?? [
      loadGate(db, maxLoad),
    ];
    for (const { gate, stop } of await Promise.all(looking)) hooks.push({ options: { gates: [gate] }, close: stop });
    hooks.push({ options: { gates: [nearGate(workers)] } });
  }
  if (maxLagSeconds !== undefined && replicas) {
    const source = new Link(hosts?.map((host) => ({ ...db, ...host })) ?? [db]);
    const { gate, stop } = await lagGate(replicas, { seconds: maxLagSeconds }, source, heartbeat);
    // What is claimed when a replica falls behind is all that is still run: no more than one for each worker.
    hooks.push({ options: { gates: [gate, nearGate(workers, 1)] }, close: stop });
  }
  if (joblog === undefined) return;
  const options = {
    resume,
    retryFailed,
    retryUnknown: retryUnknown || idempotent || ledger !== undefined, // the ledger tells
    ...(shard && { shard: `${shard.index}/${shard.count}` }),
  };
  const journal = await openJournal(joblog, options);
  hooks.push({
    options: {
      earlier: (seq, unit) => journal.earlier(seq, unit),
      onEnded: (ended, unit) => journal.ended(ended, unit),
      resumed: journal.isResumed,
      gates: [{ ...nearGate(workers), admitted: (seq) => journal.releaseTo(seq) }],
    },
    check: ({ reason }) => reason === undefined && journal.checkEnd(),
    flush: () => journal.flush(),
    close: () => journal.close(),
    leftUnknown: journal.leftUnknown,
  });
}
