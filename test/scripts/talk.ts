/** A script that prints in `main()` and in its workers, on stdout and stderr. Some lines are written in two parts. */
import { setTimeout as sleep } from "node:timers/promises";
import { isMainThread } from "node:worker_threads";
import { runCommand } from "../../lib/command/cli.ts";
import { doWork } from "../../lib/mp.ts";
import { myglobals } from "../../lib/myglobals.ts";

const units = Array.from({ length: 40 }, (_, index) => index + 1);

export async function workerDo(unit: number): Promise<void> {
  if (unit % 4 === 0) process.stdout.write(`unit ${unit},`);
  await sleep(20);
  if (unit % 4 === 0) console.log(" is", { unit });
  if (unit % 4 === 1) console.error(`\x1b[31munit\x1b[0m\t${unit}\nhas\u0007 failed`);
  if (unit === 40) process.emitWarning("unit 40 is the last");
}

if (isMainThread) {
  process.exitCode = await runCommand(async (command) => {
    // mysql2 prints a warning for each connection, because it does not know `retries`.
    myglobals.config = { db: { ...command.db, retries: 7 } as object };
    console.log("main begins");
    const summary = await doWork(units, 4, { ...command.options, threads: 4, script: import.meta.url });
    console.warn("main ends");
    return summary;
  });
}
