/**
 * Measures the lag of a replica with a table that pt-heartbeat, or anything else, writes on the source every second.
 *
 * It compares `ts` of the same row on the source and on the replica. So the clocks of the machines do not matter, and `ts` may be
 * local time, as pt-heartbeat writes it, or UTC, as with its --utc. The lag is exact to one beat. A limit below a second needs
 * several beats within it. It also checks that somebody still writes the row.
 */
import { UsageError } from "../../command/errors.ts";
import type { Link } from "../../command/link.ts";
import { quoted, splitName } from "../../mysql/names.ts";

/** Age of a beat, as a multiple of the limit, above which the heartbeat is stale. Within these bounds, and never below the limit. */
const staleLimits = 5;
const staleSeconds = { least: 2, most: 5 };

export class Heartbeat {
  /** Name of the table, quoted as SQL. */
  readonly table: string;
  readonly link: Link;
  readonly #name: string;
  /** The last `ts` on the source, by `server_id`. */
  #beats: ReadonlyMap<string, string> = new Map();
  /** `server_id` of the source's row, and its `ts`. */
  #server: string | undefined;
  #text: string | undefined;
  #beatAt: number | undefined;

  /** @throws UsageError for an invalid name. */
  constructor(name: string, database: string | undefined, link: Link) {
    const names = splitName(name);
    if (!names) throw new UsageError(`--heartbeat must be TABLE or DATABASE.TABLE, not ${JSON.stringify(name)}`);
    const schema = names.database ?? database;
    if (!schema) throw new UsageError(`--heartbeat ${name}: name its database, too: DATABASE.TABLE`);
    this.table = `${quoted(schema)}.${quoted(names.table)}`;
    this.#name = name;
    this.link = link;
  }

  /** Reads the heartbeat of the source. @throws UsageError if there is none. */
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
    // Former sources have left rows, and their clocks may have been ahead. The row of the source is the one that changes.
    const changed = [...beats.keys()].filter((server) => this.#beats.get(server) !== beats.get(server));
    const isFirst = this.#beats.size === 0;
    this.#beats = beats;
    if (changed.length === 0) return;
    if (!isFirst) this.#beatAt = performance.now();
    if (!this.#server || !changed.includes(this.#server)) this.#server = changed.at(-1)!;
    this.#text = beats.get(this.#server)!;
    secondsOf(this.#text);
  }

  /** True if `ts` has fractions of a second. */
  get hasFractions(): boolean {
    return this.#text?.includes(".") ?? false;
  }

  /** Returns the reason if nobody writes the heartbeat. */
  staleness(limitSeconds: number): string | undefined {
    if (this.#beatAt === undefined) return `nobody has written into ${this.#name} yet`;
    const age = (performance.now() - this.#beatAt) / 1000;
    const { least, most } = staleSeconds;
    const mostAge = Math.max(limitSeconds, Math.min(most, Math.max(least, staleLimits * limitSeconds)));
    return age > mostAge ? `nobody writes into ${this.#name}, for ${Math.round(age)} s` : undefined;
  }

  /** Returns the seconds that a replica is behind. */
  async secondsBehind(replica: Link): Promise<number> {
    const [row] = await replica.rows(`SELECT ts FROM ${this.table} WHERE server_id = ${Number(this.#server)}`);
    const there = row?.get("ts");
    if (!there) throw Object.assign(new Error(`${this.#name} has no row of server ${this.#server}`), { errno: 1 });
    return Math.max(0, secondsOf(this.#text!) - secondsOf(there));
  }
}

/** Returns a time in seconds. Only differences are used. pt-heartbeat writes a `T` between date and time, a DATETIME has a space. */
function secondsOf(text: string): number {
  const ms = Date.parse(`${text.replace(" ", "T")}Z`);
  if (Number.isNaN(ms)) throw new UsageError(`--heartbeat: ts must be a time, not ${JSON.stringify(text)}`);
  return ms / 1000;
}
