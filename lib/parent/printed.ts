/** Prints the output of worker threads in the parent, in whole lines. */
import type { Worker, WorkerOptions } from "node:worker_threads";

/** False on Deno, which prints the output of a thread itself and also passes it to the parent. */
const prints = process.versions.deno === undefined;

/** Options of a thread that pass its output to the parent. */
export const unprinted: WorkerOptions = { stdout: prints, stderr: prints };

/** Characters without a line end after which they are printed as a line. */
const longest = 1 << 16;

/**
 * Prints the output of a thread with `console.log()` and `console.error()`.
 *
 * @returns a function that prints an unfinished last line. Call it when the thread has exited.
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
