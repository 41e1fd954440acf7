/** This project with units that compute for a millisecond or two, and then run a query. UNITS in the environment is their number. */
import { pbkdf2Sync } from "node:crypto";
import { doWork, execute, myglobals, runCommand, type WorkerDo } from "../../../lib/index.ts";

export const workerDo: WorkerDo<number> = (unit, connection) => {
  pbkdf2Sync(String(unit), "salt", 4000, 32, "sha256");
  return execute(connection, "DO 0");
};

process.exitCode = await runCommand(({ db, workers, options }) => {
  myglobals.config = { db };
  return doWork(Array(Number(process.env.UNITS)).keys(), workers, { ...options, script: import.meta.url });
});
