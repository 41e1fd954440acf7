/** Writes rows to stdout. If a resumed run would not print them again, it also finds the queries whose rows got lost. */
import type { Context, Hook } from "../../command/feature.ts";
import { writeOrEnd } from "../../command/output.ts";
import { UnreadRows } from "./unread-rows.ts";

export function writeRows({ output, drain, hooks }: Context): Hook {
  if (!hooks.some(({ takeBack, decidesUnknown }) => takeBack || decidesUnknown)) {
    return { options: { onRows: (lines) => writeOrEnd(lines, output, drain) } };
  }
  const unread = new UnreadRows(output);
  return {
    options: { onRows: (lines) => writeOrEnd(lines, output, drain, unread.add(lines)) },
    async lostRows() {
      await output.flush();
      return unread.lost();
    },
  };
}
