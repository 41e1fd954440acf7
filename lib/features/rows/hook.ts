/** Writes rows to stdout. If a resumed run would not print them again, it also finds the queries whose rows got lost. */
import type { Context, Hook } from "../../command/feature.ts";
import { type Output, writeOrEnd } from "../../command/output.ts";

export function writeRows({ output, drain, hooks }: Context): Hook {
  if (!hooks.some(({ takeBack, decidesUnknown }) => takeBack || decidesUnknown)) {
    return { options: { onRows: (lines) => writeOrEnd(lines, output, drain) } };
  }
  const unread = unreadRows(output);
  return {
    options: { onRows: (lines) => writeOrEnd(lines, output, drain, unread.add(lines)) },
    async lostRows() {
      await output.flush();
      return unread.lost();
    },
  };
}

/** Most unread bytes in a pipe or a socket. 1 MiB is the largest size that Linux lets a user set. */
const pipeBytes = 1 << 20;

/** Remembers rows until it is certain that the reader of stdout has read them. */
function unreadRows(output: Output) {
  const unwritten = new Set<Uint8Array>();
  let recent: Uint8Array[] = [];
  let recentBytes = 0;
  let before: Uint8Array[] = [];
  const seqs = new Set<number>();
  return { add, lost };

  /** Adds rows that are written next. Returns the `onWritten` callback for their `write()`. */
  function add(lines: Uint8Array): () => void {
    if (output.failure) lost(); // otherwise a query that runs for hours fills the memory
    unwritten.add(lines);
    return () => {
      unwritten.delete(lines);
      recent.push(lines);
      recentBytes += lines.length;
      if (recentBytes < pipeBytes) return;
      before = recent;
      recent = [];
      recentBytes = 0;
    };
  }

  /** Returns the seq of each query with rows that may not have been read. Complete after `flush()`. */
  function lost(): ReadonlySet<number> {
    // If the reader has closed the pipe, the last rows that were written may have been in it. A file has all that was written.
    const written = output.closed ? [...before, ...recent] : [];
    for (const lines of [...written, ...unwritten]) {
      const text = Buffer.from(lines.buffer, lines.byteOffset, lines.length).toString("latin1");
      for (const [, seq] of text.matchAll(/^\{"seq":(\d+)/gm)) seqs.add(Number(seq));
    }
    unwritten.clear();
    before = [];
    recent = [];
    return seqs;
  }
}
