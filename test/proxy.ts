/** Proxies in front of a server, each on a socket of its own: a broken network, a ProxySQL, and a load balancer. */
import { once } from "node:events";
import { rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * The fault that `arm()` injects when a client sends a matching packet:
 *
 * - `lose`: The connection is closed, and the server does not get the packet.
 * - `swallow`: No byte passes any more, in either direction. The connection stays open.
 * - `leave`: The server gets the packet. The client gets the answer, and the connection is closed.
 * - a function: The server gets the packet, and the client gets no answer. When the function has resolved, the connection is
 *   closed. If it resolves with bytes, the server's side is closed, and the client gets the bytes as the answer.
 * - bytes: The client gets them as the answer. The server does not get the packet.
 */
export type Fate = "lose" | "swallow" | "leave" | Uint8Array | (() => Promise<unknown>);

/** Returns an ERR packet, as the answer to a query. */
export function errorPacket(errno: number, message: string): Uint8Array {
  const body = Buffer.concat([Buffer.from([0xff, errno & 0xff, errno >> 8]), Buffer.from(`#HY000${message}`)]);
  return Buffer.concat([Buffer.from([body.length, 0, 0, 1]), body]);
}

export interface Proxy {
  readonly path: string;
  /** Stops all traffic on all connections, also new ones, until `resume()`. */
  stall(): void;
  resume(): void;
  /** Forwards only the beginning of the next chunk of a random connection, in a random direction, and closes the connection. */
  cut(random: () => number): void;
  /** Injects a fault when a client sends data that match, once or each time. Returns a function that counts the matches. */
  arm(pattern: Pick<RegExp, "test">, fate: Fate, times?: "once" | "always"): () => number;
}

type Pair = readonly [client: net.Socket, upstream: net.Socket];

/** Starts a proxy in front of the server on this socket. */
export async function startProxy(t: { after(then: () => void): void }, socketPath: string): Promise<Proxy> {
  const path = join(tmpdir(), `myscript-proxy-${process.pid}-${Math.random()}`);
  const pairs = new Set<Pair>();
  let isStalled = false;
  let armed: { readonly pattern: Pick<RegExp, "test">; readonly fate: Fate; readonly times: string } | undefined;
  let hits = 0;
  const server = net.createServer((client) => {
    const pair: Pair = [client, net.connect(socketPath)];
    pairs.add(pair);
    for (const [from, to] of [pair, pair.toReversed()] as Pair[]) {
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        pairs.delete(pair);
      });
    }
    if (!isStalled) link(pair);
  });
  await once(server.listen(path), "listening");
  t.after(() => {
    server.close();
    for (const pair of pairs) for (const socket of pair) socket.destroy();
    rmSync(path, { force: true });
  });
  return {
    path,
    stall() {
      isStalled = true;
      for (const pair of pairs) unlink(pair);
    },
    resume() {
      isStalled = false;
      for (const pair of pairs) link(pair);
    },
    cut(random) {
      const pair = [...pairs][Math.floor(random() * pairs.size)];
      if (!pair) return;
      const [from, to] = random() < 0.5 ? pair : (pair.toReversed() as unknown as Pair);
      from.unpipe().removeAllListeners("data"); // the other direction goes on
      from.once("data", (chunk: Buffer) => {
        to.write(chunk.subarray(0, Math.floor(random() * chunk.length)), () => from.destroy());
      });
      from.resume();
    },
    arm(pattern, fate, times = "once") {
      armed = { pattern, fate, times };
      hits = 0;
      return () => hits;
    },
  };

  function link([client, upstream]: Pair): void {
    upstream.pipe(client);
    client.on("data", (chunk: Buffer) => pass([client, upstream], chunk)).resume();
  }

  function unlink([client, upstream]: Pair): void {
    upstream.unpipe(client).pause();
    client.removeAllListeners("data").pause();
  }

  function pass(pair: Pair, chunk: Buffer): void {
    const [client, upstream] = pair;
    const fate = armed?.pattern.test(chunk.toString("latin1")) ? armed.fate : undefined;
    if (fate === undefined) return void upstream.write(chunk);
    if (armed?.times === "once") armed = undefined;
    hits++;
    if (typeof fate === "object") return void client.write(fate);
    if (fate === "lose") return void client.destroy();
    unlink(pair);
    if (fate === "swallow") return;
    upstream.write(chunk);
    upstream.resume();
    if (fate === "leave") return void upstream.once("data", (answer) => client.write(answer) && client.destroy());
    void fate().then((answer) => {
      if (!(answer instanceof Uint8Array)) return client.destroy();
      upstream.removeAllListeners("close").destroy();
      client.write(answer);
      client.once("data", () => client.destroy()); // the client must not use this connection again
    });
  }
}

/** A proxy that speaks the protocol, as ProxySQL does: the client's connection survives the death of the server. */
export interface ProxySql {
  readonly path: string;
  /** Answers the next `times` matching queries with error 9001 of ProxySQL: no server is reachable. */
  refuse(pattern: RegExp, times: number): void;
}

/** Starts a ProxySQL. It answers `SHOW WARNINGS` itself with no rows, and answers 2013 if the server dies during a query. */
export async function startProxySql(t: { after(then: () => void): void }, socketPath: string): Promise<ProxySql> {
  let refused = /(?!)/;
  let left = 0;
  const path = await listen(t, (client) => {
    const upstream = net.connect(socketPath);
    let isAnswering = false;
    client.on("data", (chunk: Buffer) => {
      const text = chunk.toString("latin1");
      if (text.includes("SHOW WARNINGS")) return void client.write(emptyResult);
      if (left > 0 && refused.test(text)) {
        left--;
        return void client.write(
          errorPacket(9001, "Max connect timeout reached while reaching hostgroup 1 after 10000ms"),
        );
      }
      isAnswering = true;
      upstream.write(chunk);
    });
    upstream.on("data", (chunk) => {
      isAnswering = false;
      client.write(chunk);
    });
    upstream
      .on("error", () => {})
      .on("close", () => {
        if (isAnswering) client.write(errorPacket(2013, "Lost connection to server during query"));
        else client.destroy();
      });
    client.on("error", () => {}).on("close", () => upstream.destroy());
  });
  return {
    path,
    refuse(pattern, times) {
      refused = pattern;
      left = times;
    },
  };
}

/** Starts a load balancer and returns its socket. `next` returns the socket of the server for each new connection. */
export function startBalancer(t: { after(then: () => void): void }, next: () => string): Promise<string> {
  return listen(t, (client) => {
    const upstream = net.connect(next());
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) socket.on("error", () => {});
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.destroy());
  });
}

async function listen(t: { after(then: () => void): void }, take: (client: net.Socket) => void): Promise<string> {
  const path = join(tmpdir(), `myscript-proxy-${process.pid}-${Math.random()}`);
  const server = net.createServer(take);
  await once(server.listen(path), "listening");
  t.after(() => server.close());
  return path;
}

/** The answer to a SELECT of one column without rows: column count, column, EOF, EOF. */
const emptyResult = Buffer.concat(
  [Buffer.from([1]), columnOf("Level"), ...Array(2).fill(Buffer.from([0xfe, 0, 0, 2, 0]))].map((body, index) =>
    Buffer.concat([Buffer.from([body.length, 0, 0, index + 1]), body]),
  ),
);

function columnOf(name: string): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  const type = Buffer.from([12, 45, 0, 255, 0, 0, 0, 253, 0, 0, 0, 0, 0]); // utf8mb4, 255 long, a VARCHAR
  return Buffer.concat([...["def", "", "", "", name, name].map(text), type]);
}
