/** Unix socket with commands for a run: one line in, one line of JSON out. */
import { once } from "node:events";
import { chmodSync, lstatSync, statSync } from "node:fs";
import { unlink } from "node:fs/promises";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UsageError, why } from "../../command/errors.ts";

/** Most bytes of a command line. A client that sends a longer one is disconnected. */
const longest = 4096;
/** Most bytes of a socket's path on this system. */
const longestPath = process.platform === "linux" ? 107 : 103;
/** Time in ms after which a silent client is disconnected. */
const idleMs = 600_000;
/** Pause before the next line of one client. Otherwise a client that sends without end would keep this thread from the run. */
const turnMs = 5;
/** Time in ms that another run has to accept a connection. Without an answer it counts as alive. */
const answerMs = 1000;

/**
 * Listens at `path`. Only this user and root can connect. A socket that a dead run has left is replaced.
 *
 * @param obey takes a line and returns the answer. Its error is answered as `{"error":"…"}`.
 * @returns a function that stops listening and removes the socket.
 * @throws UsageError if it cannot listen there.
 */
export async function openControl(path: string, obey: (line: string) => Promise<unknown>): Promise<() => void> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    serve(socket, obey).catch(() => socket.destroy());
  });
  try {
    await makeWay(path);
    await listen(server, path);
    chmodSync(path, 0o600); // for a runtime that ignores the umask
  } catch (error) {
    const reason = why(error).replace(/^listen \w+: | \/.*/g, ""); // Node: "listen EACCES: permission denied /run/x"
    throw new UsageError(`Cannot use --control ${JSON.stringify(path)}: ${reason}`, { cause: error });
  }
  server.unref();
  return () => {
    server.close(); // removes the socket, too
    for (const socket of sockets) socket.destroy();
  };
}

async function serve(socket: Socket, obey: (line: string) => Promise<unknown>): Promise<void> {
  socket.unref();
  socket.on("error", () => socket.destroy());
  socket.setTimeout(idleMs, () => socket.destroy());
  for await (const line of linesOf(socket)) {
    if (line.trim() !== "") {
      const answer = await obey(line).catch((error: Error) => ({ error: error.message.replace(/^--/, "") }));
      await write(socket, `${JSON.stringify(answer)}\n`);
    }
    await sleep(turnMs, undefined, { ref: false });
  }
  socket.end();
}

/** Yields lines, and reads no further while one is being answered. @throws Error for a line that is too long, and if the client is gone. */
async function* linesOf(socket: Socket): AsyncGenerator<string> {
  let text = Buffer.alloc(0);
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text = Buffer.concat([text, chunk]);
    let start = 0;
    for (let end = text.indexOf(10); end >= 0; end = text.indexOf(10, start)) {
      if (end - start > longest) throw new Error("The line is too long");
      yield text.toString("utf8", start, end);
      start = end + 1;
    }
    text = text.subarray(start);
    if (text.length > longest) throw new Error("The line is too long");
  }
  if (text.length > 0) yield text.toString();
}

/** Resolves when the text was written. @throws Error if the client is gone. */
function write(socket: Socket, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

/** Removes the socket of a dead run. @throws Error if `path` cannot be used. */
async function makeWay(path: string): Promise<void> {
  if (Buffer.byteLength(path) > longestPath) throw new Error(`it must not be longer than ${longestPath} bytes`);
  statSync(dirname(path));
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return;
  if (!found.isSocket()) throw new Error("it exists and is not a socket");
  if (await isAnswered(path)) throw new Error("another run is using it");
  await unlink(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    const end = (then: () => void) => {
      socket.destroy();
      then();
    };
    socket.setTimeout(answerMs, () => end(() => resolve(true)));
    socket.once("connect", () => end(() => resolve(true)));
    socket.once("error", (error: NodeJS.ErrnoException) =>
      end(() => (error.code === "ECONNREFUSED" ? resolve(false) : reject(error))),
    );
  });
}

/** Creates the socket with mode 0600. `listen()` creates it at once, so the umask is changed only for that call. */
async function listen(server: Server, path: string): Promise<void> {
  const before = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(before);
  }
  await once(server, "listening");
}
