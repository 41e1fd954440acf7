/**
 * How far a replica is behind, from a table that pt-heartbeat (or anything else) writes on the source every second.
 *
 * Compared are two values of the same row, the source's and the replica's: the clocks of the machines do not matter, nor whether
 * `ts` is local time, as pt-heartbeat writes it, or UTC, as with its --utc. It is exact to one beat: for a limit below a second,
 * there must be several beats within it. That somebody still writes the row is looked at here.
 */
import { UsageError } from "../../command/errors.ts";
import type { Link } from "../../command/link.ts";
import { quoted, splitName } from "../../mysql/literal.ts";

/** A beat may be as old as so many limits before nobody seems to write it: within these bounds, or as old as the lag may be. */
const staleLimits = 5;
const staleSeconds = { least: 2, most: 5 };

export class Heartbeat {
  /** As SQL. */
  readonly table: string;
  readonly link: Link;
  readonly #name: string;
  /** By `server_id`, the last `ts` that was seen on the source. */
  #beats: ReadonlyMap<string, string> = new Map();
  /** Whose row is the heartbeat, and its `ts`. */
  #server: string | undefined;
  #text: string | undefined;
  #beatAt: number | undefined;

  /** @throws UsageError for what is no name. */
  constructor(name: string, database: string | undefined, link: Link) {
    const names = splitName(name);
    if (!names) throw new UsageError(`--heartbeat must be TABLE or DATABASE.TABLE, not ${JSON.stringify(name)}`);
    const schema = names.database ?? database;
    if (!schema) throw new UsageError(`--heartbeat ${name}: name its database, too: DATABASE.TABLE`);
    this.table = `${quoted(schema)}.${quoted(names.table)}`;
    this.#name = name;
    this.link = link;
  }

  /** Looks at the source. @throws UsageError when there is no heartbeat to see. */
  async look(): Promise<void> {
    const rows = await this.link.rows(`SELECT server_id, ts FROM ${this.table} ORDER BY ts`).catch((error) => {
      throw new UsageError(`--heartbeat ${this.#name}: ${error.message}`);
    });
    const beats = new Map<string, string>();
    for (const row of rows) {
      const [server, text] = [row.get("server_id"), row.get("ts")];
      if (server && text) beats.set(server, text);
    }
    if (beats.size === 0) throw new UsageError(`--heartbeat ${this.#name}: the table is empty`);
    // Former sources have left rows behind, and their clocks may have been ahead: the source's row is the one that changes.
    const changed = [...beats.keys()].filter((server) => this.#beats.get(server) !== beats.get(server));
    const isFirst = this.#beats.size === 0;
    this.#beats = beats;
    if (changed.length === 0) return;
    if (!isFirst) this.#beatAt = performance.now();
    if (!this.#server || !changed.includes(this.#server)) this.#server = changed.at(-1)!;
    this.#text = beats.get(this.#server)!;
    secondsOf(this.#text);
  }

  /** True if it is written in parts of a second. */
  get hasFractions(): boolean {
    return this.#text?.includes(".") ?? false;
  }

  /** What is wrong with the heartbeat itself, if it is. */
  staleness(limitSeconds: number): string | undefined {
    if (this.#beatAt === undefined) return `nobody has written into ${this.#name} yet`;
    const age = (performance.now() - this.#beatAt) / 1000;
    const { least, most } = staleSeconds;
    const mostAge = Math.max(limitSeconds, Math.min(most, Math.max(least, staleLimits * limitSeconds)));
    return age > mostAge ? `nobody writes into ${this.#name}, for ${Math.round(age)} s` : undefined;
  }

  /** How far a replica is behind. */
  async secondsBehind(replica: Link): Promise<number> {
    const [row] = await replica.rows(`SELECT ts FROM ${this.table} WHERE server_id = ${Number(this.#server)}`);
    const there = row?.get("ts");
    if (!there) throw Object.assign(new Error(`${this.#name} has no row of server ${this.#server}`), { errno: 1 });
    return Math.max(0, secondsOf(this.#text!) - secondsOf(there));
  }
}

/** Any day's seconds: only differences count. pt-heartbeat writes `2026-11-27T13:39:04.001230`; a DATETIME has a space. */
function secondsOf(text: string): number {
  const ms = Date.parse(`${text.replace(" ", "T")}Z`);
  if (Number.isNaN(ms)) throw new UsageError(`--heartbeat: ts must be a time, not ${JSON.stringify(text)}`);
  return ms / 1000;
}
