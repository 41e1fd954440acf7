/** Reads queries from SQL files, and prints them as one. */
import { defineFeature } from "../../command/feature.ts";

export const feature = defineFeature({
  flags: {},
  async openFiles({ files: names, workers, shard, given }, { io, progress, hooks }, dollarQuotes) {
    const { openFiles } = await import("./files.ts");
    if (names.includes("-")) hooks.push({ close: () => io.stdin.destroy() });
    const reading = { stdin: io.stdin as AsyncIterable<Uint8Array>, dollarQuotes };
    const files = await openFiles(names, reading, (at, statement) => {
      if (workers > 1 || shard || given.joblog === undefined) return;
      progress.log(
        `warning: ${at}: ${statement} applies to one connection only: if the run is interrupted, --resume refuses this input, and all of it has to run again`,
      );
    });
    if (files.isEmpty) progress.log(`warning: no queries in ${names.join(", ").replace(/^-$/, "stdin")}`);
    return files;
  },
  sqlPrinter: async () => (await import("./sql-file.ts")).toSqlFile,
});
