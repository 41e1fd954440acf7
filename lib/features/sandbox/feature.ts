/** Starts a private throwaway server if no server was named. */
import { defineFeature } from "../../command/feature.ts";

export const feature = defineFeature({
  flags: {},
  async startServer({ progress, hooks }) {
    const { findProgram, startSandbox } = await import("./sandbox.ts");
    const program = await findProgram();
    progress.log(`no server was named: running on a private throwaway ${program.isMariaDB ? "MariaDB" : "MySQL"}`);
    const { db, stop } = await startSandbox({ program });
    hooks.push({ close: stop });
    return db;
  },
});
