/**
 * Measures the steps of a start: four queries from a file, beside an empty script, in turns.
 *
 * It measures from outside, in the same way on every runtime. A proxy between the script and the server sees the connections. The
 * first byte that the empty script prints shows when a script begins.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { quiet, timed } from "./measure.ts";
import { pathOf, type Runtime, runtimes } from "./runtime.ts";
import type { Server } from "./server.ts";
import { spread } from "./statistics.ts";

/** The times of one run, in milliseconds after exec. `marks` are in ascending order. */
interface Seen {
  readonly marks: readonly number[];
  readonly wallMs: number;
  readonly cpuMs: number;
}

/** The steps of a start. Each ends at one mark. */
const steps = [
  ["the runtime, and tsx", "until an empty script begins"],
  ["modules", "until the server is asked"],
  ["the server is asked", "until the answer"],
  ["a thread starts", "until a worker connects"],
  ["the worker connects", "until the first query is sent"],
  ["four queries", "until the last answer"],
  ["the end", "until exit"],
] as const;

/** Runs both scripts in turns and returns a table for each runtime. */
export async function timeline(server: Server, directory: string, rounds: number): Promise<string> {
  const folder = mkdtempSync(join(directory, "start-"));
  const [empty, file] = [join(folder, "empty.ts"), join(folder, "four.sql")];
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(empty, 'process.stdout.write("1");\nexport {};\n');
  writeFileSync(file, "SELECT 1;".repeat(4));
  const network = new Network(server.socketPath, join(folder, "socket"));
  await network.listen();
  const words = ["-q", "-S", network.path, "-u", "root", "-D", "myscript", "-j", "4", file];
  const tables: string[] = [];
  try {
    for (const runtime of runtimes) {
      const runs: { empty: Seen; own: Seen }[] = [];
      for (let round = 0; round <= rounds; round++) {
        await quiet();
        const pair = { empty: await see(runtime, [empty], network), own: await see(runtime, words, network, "script") };
        if (round > 0) runs.push(pair); // the first round fills the caches
      }
      tables.push(tableOf(runtime, runs));
    }
  } finally {
    network.close();
  }
  return tables.join("\n\n");
}

async function see(runtime: Runtime, words: readonly string[], network: Network, script?: "script"): Promise<Seen> {
  const command = [...runtime.typescript, ...(script ? [pathOf("myscript.ts")] : []), ...words];
  network.begin();
  const startedAt = performance.now();
  const child = spawn("bash", ["-c", timed, "bash", ...command], { stdio: ["ignore", "pipe", "inherit", "pipe"] });
  const first = once(child.stdout!, "data").then(() => performance.now());
  const times = text(child.stdio[3] as NodeJS.ReadableStream);
  const [status] = await once(child, "exit");
  const wallMs = performance.now() - startedAt;
  if (status !== 0) throw new Error(`${command.join(" ")}: exit status ${status}`);
  const [user = 0, system = 0] = (await times).trim().split(/\s+/).slice(2).map(Number);
  const seen = script ? network.marks() : [await first];
  return { marks: seen.map((at) => at - startedAt), wallMs, cpuMs: (user + system) * 1000 };
}

function tableOf({ name }: Runtime, runs: readonly { empty: Seen; own: Seen }[]): string {
  const median = (values: readonly number[]) => spread(values)?.median ?? 0;
  const begun = median(runs.map(({ empty }) => empty.marks[0]!));
  const ends = [begun, ...[0, 1, 2, 3, 4].map((mark) => median(runs.map(({ own }) => own.marks[mark]!)))];
  ends.push(median(runs.map(({ own }) => own.wallMs)));
  const lines = steps.map(([what, until], index) => {
    const ms = [ends[index]! - (ends[index - 1] ?? 0), ends[index]!].map((each) => each.toFixed(0).padStart(8));
    return `${what.padEnd(24)}${until.padEnd(32)}${ms.join("")}`;
  });
  const ratio = (figure: "wallMs" | "cpuMs") => median(runs.map(({ empty, own }) => own[figure] / empty[figure]));
  const ratios = `${ratio("wallMs").toFixed(2)} x the wall and ${ratio("cpuMs").toFixed(2)} x the processor time of an empty script`;
  return [`${name}: ms of a step, ms from exec`, ...lines, `exec to exit: ${ratios}`].join("\n");
}

/** The times of a connection's accept, of its first query and of its last answer. */
interface Connection {
  readonly accepted: number;
  query?: number | undefined;
  answered: number;
}

/** A proxy that records the times of its connections. */
class Network {
  readonly path: string;
  readonly #server: net.Server;
  #connections: Connection[] = [];

  constructor(target: string, path: string) {
    this.path = path;
    this.#server = net.createServer((client) => {
      const seen: Connection = { accepted: performance.now(), answered: 0 };
      this.#connections.push(seen);
      const upstream = net.connect(target);
      client.on("error", () => {}).on("close", () => upstream.destroy());
      upstream.on("error", () => {}).on("close", () => client.destroy());
      client.on("data", (bytes) => {
        if (bytes.includes("SELECT 1")) seen.query ??= performance.now();
      });
      upstream.on("data", () => {
        seen.answered = performance.now();
      });
      client.pipe(upstream).pipe(client);
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.path, resolve));
  }

  begin(): void {
    this.#connections = [];
  }

  /** Returns the times of the marks. The first connection is the probe's, and the others are the workers'. */
  marks(): number[] {
    const [probe, ...workers] = this.#connections;
    const queries = workers.filter(({ query }) => query !== undefined);
    if (!probe || queries.length === 0) throw new Error("No worker has connected");
    const first = Math.min(...workers.map(({ accepted }) => accepted));
    const query = Math.min(...queries.map(({ query }) => query!));
    return [probe.accepted, probe.answered, first, query, Math.max(...queries.map(({ answered }) => answered))];
  }

  close(): void {
    this.#server.close();
  }
}
