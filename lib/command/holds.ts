/** What holds queries back: the limits that the flags set, what a person changes of them meanwhile, and the job log. */
import type { ConnectionOptions } from "mysql2";
import type { Host } from "../mp.ts";
import { nameOf } from "../mysql/connection.ts";
import type { Server } from "./config.ts";
import type { Flags } from "./flags.ts";
import { loadGates, nearGate } from "./gates.ts";
import { journalOptions, openJournal } from "./journal.ts";
import { Link } from "./link.ts";
import type { Surroundings } from "./setup.ts";
import { obey, Steering } from "./steering.ts";

/** Where the queries go, and what is looked at beside it. */
export interface Servers {
  readonly db: ConnectionOptions;
  readonly hosts: readonly Host[] | undefined;
  readonly replicas: Server | undefined;
}

/** Adds a hook for each; with `hasKeys`, a terminal's keys steer the run. */
export async function addHolds(flags: Flags, servers: Servers, hasKeys: boolean, around: Surroundings): Promise<void> {
  const { progress, hooks } = around;
  const steering = await steer(flags, servers, around);
  const tell = (change: string) => progress.log(`changed: ${change}`);
  steering.onChange = tell;
  if (flags.control !== undefined) {
    const { openControl } = await import("./control.ts");
    hooks.push({ close: await openControl(flags.control, (line) => obey(steering, line)) });
  }
  if (hasKeys) await addKeys(steering, around);
  const journal = await addJournal(flags, around);
  if (!journal) return;
  steering.onChange = (change) => {
    tell(change);
    journal.comment(change);
  };
}

/** The one gate for all limits that can be changed, as the flags set them. */
async function steer(
  { workers, rate, maxLoad, maxLagSeconds, heartbeat }: Flags,
  { db, hosts, replicas }: Servers,
  { progress, hooks, drain }: Surroundings,
): Promise<Steering> {
  const servers = hosts?.map((host) => ({ db: { ...db, ...host }, where: nameOf(host) })) ?? [{ db }];
  const steering = new Steering({
    ...{ workers, progress, drain },
    watchLoad: (limits) => loadGates(servers, limits),
    watchLag:
      replicas &&
      (async (limit) => {
        const { lagGate } = await import("./lag.ts");
        return lagGate(replicas, limit, new Link(servers.map((server) => server.db)), heartbeat);
      }),
  });
  hooks.push({ options: { gates: [steering], progress: steering.progress }, close: () => steering.stop() });
  steering.rate.perSecond = rate;
  await steering.limitLoad(maxLoad);
  if (maxLagSeconds !== undefined) await steering.limitLag(maxLagSeconds);
  return steering;
}

async function addKeys(steering: Steering, { io, hooks, drain }: Surroundings): Promise<void> {
  const { watchKeys } = await import("./keys.ts");
  const interrupt = () => drain.signal.aborted || process.kill(process.pid, "SIGINT");
  let stop: (() => void) | undefined;
  // Not before: a script may ask a person something first.
  steering.onBegin = () => {
    stop ??= watchKeys(io, steering, interrupt);
  };
  hooks.push({ close: () => stop?.() });
}

async function addJournal(flags: Flags, { hooks }: Surroundings) {
  const { joblog, ledger, workers } = flags;
  if (joblog === undefined) return undefined;
  const journal = await openJournal(joblog, journalOptions(flags));
  hooks.push({
    options: {
      earlier: (seq, unit) => journal.earlier(seq, unit),
      onEnded: (ended, unit) => journal.ended(ended, unit),
      resumed: journal.isResumed,
      notes: journal,
      gates: [{ ...nearGate(workers), admitted: (seq) => journal.releaseTo(seq) }],
    },
    check: ({ reason }) => reason === undefined && journal.checkEnd(),
    // A query in a ledger is not run again.
    ...(ledger === undefined && { takeBack: (seqs: ReadonlySet<number>) => journal.takeBack(seqs) }),
    flush: () => journal.flush(),
    close: () => journal.close(),
    leftUnknown: journal.leftUnknown,
  });
  return journal;
}
