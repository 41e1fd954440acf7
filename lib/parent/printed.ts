/** What a worker thread prints: the parent prints it, a line as a whole. */
import type { Worker, WorkerOptions } from "node:worker_threads";

/** Deno prints by itself what a thread prints, and gives it to the parent besides. */
const prints = process.versions.deno === undefined;

/** What a thread is to be started with. */
export const unprinted: WorkerOptions = { stdout: prints, stderr: prints };

/** So long a beginning of a line, in characters, is printed as a line. */
const longest = 1 << 16;

/**
 * Prints by `console.log()` and `console.error()` what a thread prints from now on.
 *
 * @returns what prints the beginning of a line that has no end, when the thread is gone.
 */
export function printLines({ stdout, stderr }: Worker): () => void {
  if (!prints) return () => {};
  const flushes = [relay(stdout, (text) => console.log(text)), relay(stderr, (text) => console.error(text))];
  return () => {
    for (const flush of flushes) flush();
  };
}

function relay(stream: NodeJS.ReadableStream, print: (text: string) => void): () => void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    rest += text;
    const end = rest.lastIndexOf("\n");
    if (end >= 0) print(rest.slice(0, end));
    rest = rest.slice(end + 1);
    if (rest.length > longest) flush();
  });
  return flush;

  function flush(): void {
    if (rest !== "") print(rest);
    rest = "";
  }
}
